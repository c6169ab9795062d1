// Command packaging makes what pip and npm install: for each platform a wheel and an npm package with both programs,
// and the clients, which name these as an extra and as optional dependencies. From the top of the checkout:
//
//	go run ./packaging [-platforms all|host|GOOS/GOARCH,...] DIR
//	go run ./packaging -version
//
// Nothing is published. The same source and tools give the same bytes.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	which := flag.String("platforms", "all", "all, host, or a list such as linux/amd64,darwin/arm64")
	only := flag.Bool("version", false, "print the version that the packages would have")
	flag.Usage = func() {
		fmt.Fprintln(os.Stderr, "usage: go run ./packaging [-platforms all|host|GOOS/GOARCH,...] DIR")
		fmt.Fprintln(os.Stderr, "       go run ./packaging -version")
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() != 1 && !*only {
		flag.Usage()
		os.Exit(2)
	}
	if err := run(".", *which, *only, flag.Arg(0)); err != nil {
		fmt.Fprintln(os.Stderr, "packaging:", err)
		os.Exit(1)
	}
}

func run(root, which string, versionOnly bool, dir string) error {
	version, err := readVersion(root)
	if err != nil {
		return err
	}
	if versionOnly {
		fmt.Println(version)
		return nil
	}
	chosen, err := choose(which)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	common, err := readCommon(root, version)
	if err != nil {
		return err
	}
	for _, p := range chosen {
		if err := forPlatform(root, p, common, dir); err != nil {
			return fmt.Errorf("%s: %w", p, err)
		}
	}
	return makeClients(root, common, dir)
}

func forPlatform(root string, p platform, c *common, dir string) error {
	bin, err := os.MkdirTemp("", "packaging")
	if err != nil {
		return err
	}
	defer os.RemoveAll(bin)
	if err := build(root, p, bin); err != nil {
		return err
	}
	programs, err := p.programs(bin)
	if err != nil {
		return err
	}
	wheel, err := makeWheel(p, c, programs)
	if err != nil {
		return err
	}
	if err := write(dir, wheelName(p, c.version), wheel); err != nil {
		return err
	}
	tarball, err := makePlatformTarball(p, c, programs)
	if err != nil {
		return err
	}
	return write(dir, p.npmName()+"-"+c.version+".tgz", tarball)
}

func write(dir, name string, data []byte) error {
	path := filepath.Join(dir, name)
	fmt.Printf("%s  %.1f MB\n", path, float64(len(data))/1e6)
	return os.WriteFile(path, data, 0o644)
}
