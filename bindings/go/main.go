// hello SERVER [ARGUMENT...]: run a command through an exec-server, in Go. The wrapper of
// the C functions is leash.go.
//
//	go build && ./hello codex exec-server --listen stdio
package main

import (
	"fmt"
	"os"
	"time"
)

const start = `{"processId":"p1","cwd":"file:///tmp","tty":false,"arg0":null,"env":{"PATH":"/usr/bin:/bin"},` +
	`"argv":["sh","-c","echo line 1; echo oops >&2; exit 3"]}`

func run(argv []string) error {
	const limit = 10 * time.Second
	server, err := Start(argv, Bare, limit)
	if err != nil {
		return err
	}
	defer server.Free()
	if _, err := server.Call("initialize", `{"clientName":"hello"}`, limit); err != nil {
		return err
	}
	if err := server.Notify("initialized"); err != nil {
		return err
	}
	if _, err := server.Call("process/start", start, limit); err != nil {
		return err
	}
	for {
		event, err := server.Poll(limit)
		if err != nil {
			return err
		}
		if event == nil {
			return fmt.Errorf("nothing came in %v", limit)
		}
		if event.Method != "" {
			fmt.Println(event.Method, event.JSON)
		}
		if event.Method == "process/closed" {
			return nil
		}
	}
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
