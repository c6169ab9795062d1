//go:build unix

package conda

import "path/filepath"

func pythonOf(dir string) string { return filepath.Join(dir, "bin", "python") }

// usualPlaces is where installers put these tools for everybody. A service manager's PATH has few of them.
var usualPlaces = []string{
	"/opt/conda/bin", "/opt/conda/condabin", "/opt/miniforge3/bin", "/opt/miniconda3/bin", "/opt/anaconda3/bin",
	"/usr/local/bin", "/usr/bin", "/opt/homebrew/bin", "/home/linuxbrew/.linuxbrew/bin",
	"/opt/homebrew/Caskroom/miniforge/base/bin", "/opt/homebrew/Caskroom/miniconda/base/bin",
	"/opt/homebrew/anaconda3/bin", "/usr/local/Caskroom/miniforge/base/bin", "/usr/local/Caskroom/miniconda/base/bin",
	"/usr/local/anaconda3/bin",
}

// placesAtHome is where they put them for one user.
var placesAtHome = []string{
	"miniforge3/bin", "miniforge3/condabin", "mambaforge/bin", "mambaforge/condabin", "miniconda3/bin",
	"miniconda3/condabin", "anaconda3/bin", "anaconda3/condabin", "opt/miniconda3/bin", "opt/anaconda3/bin",
	"micromamba/bin", ".local/bin",
}
