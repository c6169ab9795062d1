package pyreq

import (
	"strings"
	"testing"
)

const condaLock = `version: 7
platforms:
- name: linux-64
environments:
  default:
    channels:
    - url: https://conda.anaconda.org/conda-forge/
    packages:
      linux-64:
      - conda: https://conda.anaconda.org/conda-forge/linux-64/python-3.11.2-0_cp311.conda
packages:
- conda: https://conda.anaconda.org/conda-forge/linux-64/python-3.11.2-0_cp311.conda
  subdir: linux-64
  sha256: 1111111111111111111111111111111111111111111111111111111111111111
  depends:
  - libz >=1
  license: PSF-2.0
`

func TestACondaLockFileIsTakenAsRattlerWritesIt(t *testing.T) {
	want, err := ReadCondaLock(condaLock)
	if err != nil || want.Shown() != condaLock || want.Python != "3.11" || len(want.Named("python")) != 1 {
		t.Fatalf("%v %+v", err, want)
	}
	other, err := ReadCondaLock("# by hand\r\n" + strings.ReplaceAll(condaLock, "\n", "\r\n"))
	if err != nil || other.Hash() != want.Hash() {
		t.Errorf("%v, another hash", err)
	}
	hash := "  sha256: " + strings.Repeat("1", 64) + "\n"
	for says, text := range map[string]string{
		"names no package":                 "version: 7\n",
		"has no sha256":                    strings.Replace(condaLock, hash, "", 1),
		"is no single SHA-256":             strings.Replace(condaLock, hash, hash+hash, 1),
		"\"  sha256: *a\" is no":           strings.Replace(condaLock, hash, "  sha256: *a\n", 1),
		"packages again":                   condaLock + "packages:\n",
		"\"---\" cannot be read":           condaLock + "---\n",
		"\"- {conda: x}\" cannot":          condaLock + "- {conda: x}\n",
		"\"- pypi: x\" cannot":             condaLock + "- pypi: x\n",
		"begins a list of URLs":            "# platform: linux-64\n@EXPLICIT\nhttps://x/a-1-0.conda#00\n",
		"\"six==1\" cannot be read":        "six==1\n",
		"\"packages: {a: b}\" cannot be":   strings.Replace(condaLock, "packages:\n- c", "packages: {a: b}\n- c", 1),
		"\"  default: &a\" cannot be read": strings.Replace(condaLock, "default:", "default: &a", 1),
	} {
		if _, err := ReadCondaLock(text); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v, want %q", err, says)
		}
	}
}
