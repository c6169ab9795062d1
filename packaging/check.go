package main

import (
	"debug/elf"
	"debug/macho"
	"debug/pe"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// checkProgram refuses a program that would not run where its package is installed.
func checkProgram(p platform, path string) error {
	switch p.os {
	case "linux":
		return checkELF(p, path)
	case "darwin":
		return checkMachO(p, path)
	default:
		return checkPE(p, path)
	}
}

func wrongMachine(machine any, p platform) error {
	return fmt.Errorf("it is for %v, not for %s", machine, p)
}

func checkELF(p platform, path string) error {
	f, err := elf.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if f.Machine != map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}[p.arch] {
		return wrongMachine(f.Machine, p)
	}
	dynamic := func(s *elf.Prog) bool { return s.Type == elf.PT_INTERP || s.Type == elf.PT_DYNAMIC }
	if slices.ContainsFunc(f.Progs, dynamic) {
		return errors.New("it is not static, but its wheel says that any libc will do: build it with CGO_ENABLED=0")
	}
	return nil
}

func checkMachO(p platform, path string) error {
	f, err := macho.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if f.Cpu != map[string]macho.Cpu{"amd64": macho.CpuAmd64, "arm64": macho.CpuArm64}[p.arch] {
		return wrongMachine(f.Cpu, p)
	}
	const buildVersion, codeSignature = 0x32, 0x1d // LC_BUILD_VERSION and LC_CODE_SIGNATURE, which debug/macho lacks
	least, signed := "", false
	for _, load := range f.Loads {
		raw := load.Raw()
		switch f.ByteOrder.Uint32(raw) {
		case buildVersion:
			version := f.ByteOrder.Uint32(raw[12:])
			least = fmt.Sprintf("macosx_%d_%d_", version>>16, version>>8&0xff)
		case codeSignature:
			signed = true
		}
	}
	if least == "" || !strings.HasPrefix(p.tags[0], least) {
		return fmt.Errorf("it needs %q, and the wheel's tag is %s: correct that in platform.go", least, p.tags[0])
	}
	if p.arch == "arm64" && !signed {
		return errors.New("it has no signature, and macOS on arm64 would kill it")
	}
	return nil
}

func checkPE(p platform, path string) error {
	f, err := pe.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	machines := map[string]uint16{"amd64": pe.IMAGE_FILE_MACHINE_AMD64, "arm64": pe.IMAGE_FILE_MACHINE_ARM64}
	if f.Machine != machines[p.arch] {
		return wrongMachine(fmt.Sprintf("machine %#x", f.Machine), p)
	}
	return nil
}
