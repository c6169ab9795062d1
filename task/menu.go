package main

func menu() []task {
	return []task{
		{name: "build", about: "build runtimed and runt into bin/",
			// Not with -trimpath: nothing compiled so could be used again by go run and go test.
			script: `CGO_ENABLED=0 go build -o bin/ ./cmd/...`},
		{name: "build:windows", about: "build both for Windows into bin/windows/",
			script: `GOOS=windows GOARCH=amd64 CGO_ENABLED=0 go build -o bin/windows/ ./cmd/...`},
		{name: "build:windows:tests", about: "translate the TypeScript client and its tests into bin/typescript/",
			needs: "setup:typescript", // test:typescript checks the types, and removes what it has built
			script: `
				cd clients/typescript
				mkdir -p ../../bin/typescript
				cp package.json ../../bin/typescript/
				npx tsc --noCheck --outDir ../../bin/typescript/dist
				npx tsc -p test --noCheck --outDir ../../bin/typescript/.test`},
		{name: "demo", about: "fill a pool, take an environment and start a kernel in it",
			script: `python3 testdata/demo.py`},

		{name: "test", about: "run every test in Go, Python and TypeScript", needs: "build", run: test},
		{name: "test:unit", about: "run the Go tests that need nothing but Go, in under a minute", run: testUnit},
		{name: "test:go", about: "run all Go tests; arguments go to go test", needs: "build", run: testGo},
		{name: "test:python", about: "test the Python client; arguments go to pytest",
			needs: "build setup:python", count: countPytest,
			script: `cd clients/python; .venv/bin/python -m pytest -rs "$@"`},
		{name: "test:jupyter", about: "test the Jupyter package; arguments go to pytest",
			needs: "build setup:python", count: countPytest,
			script: `cd clients/jupyter; ../python/.venv/bin/python -m pytest -rs "$@"`},
		{name: "test:typescript", about: "test the TypeScript client",
			needs: "build setup:typescript", count: countNode,
			script: `cd clients/typescript; npm test`},
		{name: "test:examples", about: "test the examples",
			needs: "build setup:typescript setup:examples", count: countNode,
			script: `cd examples; npm test`},
		{name: "test:windows", about: "run the Go tests for Windows under Wine; arguments go to go test",
			run: testWindows},
		{name: "test:deb", about: "install, use and remove the deb here (needs root and dpkg)",
			script: `sh testdata/debtest.sh "$@"`},
		{name: "test:packages", about: "install, use and remove what pip and npm get, in an empty home",
			needs:  "setup:python setup:typescript",
			script: `sh testdata/packtest.sh "$@"`},

		{name: "lint", about: "check style and types in all three languages",
			needs: "setup:python setup:typescript setup:examples",
			script: `
				go vet -tags e2e ./...
				for arch in amd64 arm64; do
					GOOS=darwin GOARCH=$arch go vet -tags e2e ./...
					GOOS=darwin GOARCH=$arch CGO_ENABLED=0 go build -o /dev/null ./cmd/runt
					GOOS=darwin GOARCH=$arch CGO_ENABLED=0 go build -o /dev/null ./cmd/runtimed
				done
				GOOS=windows go vet -tags e2e ./...
				go tool -modfile=tools.mod staticcheck -tags e2e ./...
				test -z "$(git ls-files '*.go' | xargs gofmt -l | tee /dev/stderr)"
				cd clients/python
				.venv/bin/ruff check . ../jupyter
				.venv/bin/ruff format --check . ../jupyter
				.venv/bin/mypy
				cd ../jupyter
				../python/.venv/bin/mypy
				npm run lint --prefix ../typescript
				npm run lint --prefix ../../examples`},
		{name: "fmt", about: "format in all three languages",
			needs: "setup:python setup:typescript setup:examples",
			script: `
				git ls-files '*.go' | xargs gofmt -w
				cd clients/python
				.venv/bin/ruff check --fix-only . ../jupyter
				.venv/bin/ruff format . ../jupyter
				npm run fmt --prefix ../typescript
				npm run fmt --prefix ../../examples`},
		{name: "bench", about: "measure what the pool costs, also under Wine; arguments go to go test", needs: "build",
			script: `
				go test -tags e2e -run '^$' -bench . -benchtime 1x -timeout 30m ./e2e "$@"
				go run ./task test:windows -run '^$' -bench . -benchtime 1x ./e2e "$@"`},
		{name: "soak", about: "kill and load the daemon, run the tests of peers and fuzz, for some hours",
			needs: "build setup:python",
			script: `
				export RUNTIMED_SOAK=1
				(cd clients/jupyter; ../python/.venv/bin/python -m pytest -q tests/test_hub.py)
				go run ./task test:windows
				go test -tags e2e -race -timeout 3h -v \
					-run 'Kill|Load|Leaves|Restart|Burst|Model|Peers|Behaves|Planted|Spyder' ./e2e ./pool
				git grep -oE '^func Fuzz\w+' -- '*_test.go' | sed 's,/[^/]*:func , ,' | while read -r folder target; do
					go test -run '^$' -fuzz "^$target\$" -fuzztime 10m "./$folder"
				done`},

		{name: "packages", about: "make what pip and npm install, for this machine, all, or OS/ARCH,OS/ARCH",
			needs: "setup:python setup:typescript",
			script: `
				: dist/packages/*.whl are of one version
				rm -rf dist/packages
				go run ./packaging -platforms "${1:-host}" dist/packages`},
		{name: "record", about: "make the README's recording and picture from the real thing",
			needs: "build setup:python",
			script: `
				python3 testdata/record.py
				cd clients/jupyter; ../python/.venv/bin/python -m pytest -q tests/picture.py`},
		{name: "release:snapshot", about: "make all of a release in dist/; publish nothing",
			needs: "setup:python setup:typescript",
			// goreleaser takes a clone without a remote for one without a commit, and dates everything in the year 1.
			script: `
				export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=remote.origin.url
				export GIT_CONFIG_VALUE_0=https://example.invalid/runtimed
				export VERSION="$(go run ./packaging -version)"
				go tool -modfile=release.mod goreleaser release --snapshot --clean
				cp build/packages/* dist
				go run ./packaging -platforms all dist/packages`},

		{name: "setup:python", about: "install the development tools of the Python packages",
			script: `
				cd clients/python
				if ! cmp -s requirements-dev.txt .venv/installed.txt; then
					python3 -m venv --clear .venv
					export PIP_DISABLE_PIP_VERSION_CHECK=1
					.venv/bin/python -m pip install --quiet --require-hashes -r requirements-dev.txt
					cp requirements-dev.txt .venv/installed.txt
				fi`},
		{name: "setup:typescript", about: "install the development tools of the TypeScript client",
			script: npmInstall("clients/typescript")},
		{name: "setup:examples", about: "install the development tools of the examples",
			script: npmInstall("examples")},
	}
}

func npmInstall(folder string) string {
	return `
		cd ` + folder + `
		if ! cmp -s package-lock.json node_modules/installed.json; then
			npm ci
			cp package-lock.json node_modules/installed.json
		fi`
}
