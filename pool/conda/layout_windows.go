package conda

import (
	"os"
	"path/filepath"
)

func pythonOf(dir string) string { return filepath.Join(dir, "python.exe") }

// usualPlaces is where installers put these tools for everybody.
var usualPlaces = func() (dirs []string) {
	for _, name := range []string{"miniforge3", "miniconda3", "anaconda3"} {
		base := filepath.Join(os.Getenv("PROGRAMDATA"), name)
		dirs = append(dirs, filepath.Join(base, "Scripts"), filepath.Join(base, `Library\bin`))
	}
	return dirs
}()

// placesAtHome is where they put them for one user: conda.exe is in Scripts, mamba.exe in Library\bin.
var placesAtHome = []string{
	`miniforge3\Scripts`, `miniforge3\Library\bin`, `AppData\Local\miniforge3\Scripts`,
	`AppData\Local\miniforge3\Library\bin`, `miniconda3\Scripts`, `AppData\Local\miniconda3\Scripts`,
	`anaconda3\Scripts`, `AppData\Local\anaconda3\Scripts`, `AppData\Local\micromamba`, `micromamba`, `.local\bin`,
}
