// Package launch has the Python that starts ipykernel as python -m ipykernel_launcher does. It also hands it sockets
// that listen already, and has it give its environment back.
package launch

import _ "embed"

// Script defines launch(argv, listeners, release, ignored, banner). launch.py describes them.
//
//go:embed launch.py
var Script string
