package main

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// file is an entry of an archive.
type file struct {
	name    string
	data    []byte
	program bool
}

// epoch is the time of every file in a wheel, the first that a zip can hold; installers do not keep it.
var epoch = time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)

func wheelName(p platform, version string) string {
	return fmt.Sprintf("%s-%s-py3-none-%s.whl", distribution, version, strings.Join(p.tags, "."))
}

const distribution = "runtimed_bin" // binName as file names have it

// kernels are the pools that have a kernel, and "project".
var kernels = []string{"conda", "project", "uv"}

// makeWheel makes a wheel without Python code: only scripts and data.
// The format is https://packaging.python.org/en/latest/specifications/binary-distribution-format/.
func makeWheel(p platform, c *common, programs []file) ([]byte, error) {
	data := fmt.Sprintf("%s-%s.data", distribution, c.version)
	info := fmt.Sprintf("%s-%s.dist-info", distribution, c.version)
	var files []file
	for _, program := range programs {
		files = append(files, file{data + "/scripts/" + program.name, program.data, true})
	}
	for _, name := range kernels {
		spec, err := kernelspec(p, name)
		if err != nil {
			return nil, err
		}
		dir := data + "/data/share/jupyter/kernels/runtimed-" + name
		files = append(files, file{dir + "/kernel.json", spec, false})
		for _, logo := range c.logos[name] {
			files = append(files, file{dir + "/" + logo.name, logo.data, false})
		}
	}
	files = append(files,
		file{info + "/licenses/LICENSE", c.license, false},
		file{info + "/licenses/NOTICES", c.notices, false},
		file{info + "/METADATA", metadata(c), false},
		file{info + "/WHEEL", wheelText(p), false},
	)
	var record strings.Builder
	for _, f := range files {
		sum := sha256.Sum256(f.data)
		fmt.Fprintf(&record, "%s,sha256=%s,%d\n", f.name, base64.RawURLEncoding.EncodeToString(sum[:]), len(f.data))
	}
	fmt.Fprintf(&record, "%s/RECORD,,\n", info)
	return zipped(append(files, file{info + "/RECORD", []byte(record.String()), false}))
}

func metadata(c *common) []byte {
	return fmt.Appendf(nil, `Metadata-Version: 2.4
Name: %s
Version: %s
Summary: %s
License-Expression: BSD-3-Clause
License-File: LICENSE
License-File: NOTICES
Classifier: Environment :: Console
Classifier: Framework :: Jupyter
Classifier: Operating System :: MacOS
Classifier: Operating System :: Microsoft :: Windows
Classifier: Operating System :: POSIX :: Linux
Description-Content-Type: text/markdown

%s`, binName, c.version, summary, c.readme)
}

const summary = "The programs of runtimed, the daemon that keeps Python environments warm"

func wheelText(p platform) []byte {
	text := "Wheel-Version: 1.0\nGenerator: runtimed/packaging\nRoot-Is-Purelib: false\n"
	for _, tag := range p.tags {
		text += "Tag: py3-none-" + tag + "\n"
	}
	return []byte(text)
}

// kernelspec finds runt from its own folder: wherever pip puts share, it puts bin beside it. jupyter_client knows
// {resource_dir} since 5.3, VS Code's Jupyter since 2025; {prefix} is right in a virtual environment only, and VS Code
// does not know it. The rest is what runt kernelspec install writes, without the mark of its own kernels.
func kernelspec(p platform, name string) ([]byte, error) {
	of, shown := []string{"--pool", name}, "Python (warm, "+name+")"
	switch name {
	case "project":
		of, shown = []string{"--project", "auto"}, "Python (project)"
	case "uv":
		shown = "Python (warm)"
	}
	runt := "{resource_dir}/../../../../bin/runt"
	if p.os == "windows" {
		runt = `{resource_dir}\..\..\..\..\Scripts\runt.exe`
	}
	return encode(struct {
		Argv          []string        `json:"argv"`
		DisplayName   string          `json:"display_name"`
		Language      string          `json:"language"`
		InterruptMode string          `json:"interrupt_mode"`
		Metadata      map[string]bool `json:"metadata"`
	}{
		slices.Concat([]string{runt, "kernel", "-f", "{connection_file}"}, of, []string{"--"}),
		shown, "python", "signal", map[string]bool{"debugger": true},
	})
}

func zipped(files []file) ([]byte, error) {
	var out bytes.Buffer
	z := zip.NewWriter(&out)
	z.RegisterCompressor(zip.Deflate, func(w io.Writer) (io.WriteCloser, error) {
		return flate.NewWriter(w, flate.BestCompression)
	})
	for _, f := range files {
		h := &zip.FileHeader{Name: f.name, Method: zip.Deflate, Modified: epoch}
		h.SetMode(0o644)
		if f.program {
			h.SetMode(0o755)
		}
		w, err := z.CreateHeader(h)
		if err != nil {
			return nil, err
		}
		if _, err := w.Write(f.data); err != nil {
			return nil, err
		}
	}
	err := z.Close()
	return out.Bytes(), err
}
