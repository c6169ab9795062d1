package project

import "testing"

func TestAFolderInAManifestOfPixiDoesNotPassForAPackage(t *testing.T) {
	d := rooted("/d")
	for path, want := range map[string]string{"mine": "./mine", "./a/b": "./a/b", "../c": "../c", d: d} {
		for prefix, editable := range map[string]bool{"": false, "-e ": true} {
			line, local, err := pixiPyPI("x", map[string]any{"path": path, "editable": editable})
			if line != prefix+want || local != want || err != nil {
				t.Errorf("%s: %q, %q, %v", path, line, local, err)
			}
		}
	}
}
