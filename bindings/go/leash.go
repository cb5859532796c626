package main

// #cgo pkg-config: leash
// #include <stdlib.h>
// #include <leash.h>
import "C"

import (
	"errors"
	"runtime"
	"time"
	"unsafe"
)

// Protocol is how a server wants to be spoken to.
type Protocol C.int

// The protocols of leash.h that this example needs.
const (
	JSONRPC Protocol = C.LEASH_PROTOCOL_JSONRPC
	Bare    Protocol = C.LEASH_PROTOCOL_BARE
)

// Server is a JSON-RPC server on a leash. Any goroutine may use it.
type Server struct {
	conn *C.leash_conn
}

// Event is one thing that arrived.
type Event struct {
	Kind         int
	Method, JSON string
}

// check runs a function of the library, and makes an error of its failure. The text of
// a failure belongs to the thread, so the goroutine stays on it meanwhile.
func check(call func() C.int) (int, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if status := call(); status >= 0 {
		return int(status), nil
	}
	return 0, errors.New(C.GoString(C.leash_last_error()))
}

func milliseconds(limit time.Duration) C.int64_t {
	return C.int64_t(limit.Milliseconds())
}

// Start starts the server argv.
func Start(argv []string, protocol Protocol, limit time.Duration) (*Server, error) {
	// C may keep no pointers to Go's memory in memory of its own: all of it is C's.
	items := C.calloc(C.size_t(len(argv)+1), C.size_t(unsafe.Sizeof((*C.char)(nil))))
	defer C.free(items)
	for i, argument := range argv {
		text := C.CString(argument)
		defer C.free(unsafe.Pointer(text))
		unsafe.Slice((**C.char)(items), len(argv))[i] = text
	}
	opts := C.leash_opts_new()
	defer C.leash_opts_free(opts)
	server := new(Server)
	_, err := check(func() C.int {
		if status := C.leash_opts_set_int(opts, C.LEASH_OPT_PROTOCOL, C.int64_t(protocol)); status < 0 {
			return status
		}
		return C.leash_connect((**C.char)(items), opts, milliseconds(limit), &server.conn)
	})
	if err != nil {
		return nil, err
	}
	return server, nil
}

// Free lets go: nothing of the server is left after it.
func (s *Server) Free() { C.leash_free(s.conn) }

// Call calls a method and waits for its result.
func (s *Server) Call(method, params string, limit time.Duration) (string, error) {
	name, json := C.CString(method), C.CString(params)
	defer C.free(unsafe.Pointer(name))
	defer C.free(unsafe.Pointer(json))
	var event *C.leash_event
	defer func() { C.leash_event_free(event) }()
	_, err := check(func() C.int {
		return C.leash_call(s.conn, name, json, C.size_t(len(params)), milliseconds(limit), &event)
	})
	return text(event, C.LEASH_STR_JSON), err
}

// Notify tells the server something.
func (s *Server) Notify(method string) error {
	name := C.CString(method)
	defer C.free(unsafe.Pointer(name))
	_, err := check(func() C.int { return C.leash_notify(s.conn, name, nil, 0) })
	return err
}

// Poll takes the next event, or nil when limit passes.
func (s *Server) Poll(limit time.Duration) (*Event, error) {
	var event *C.leash_event
	defer func() { C.leash_event_free(event) }()
	came, err := check(func() C.int { return C.leash_poll(s.conn, milliseconds(limit), &event) })
	if err != nil || came == 0 {
		return nil, err
	}
	method, json := text(event, C.LEASH_STR_METHOD), text(event, C.LEASH_STR_JSON)
	return &Event{int(C.leash_event_kind(event)), method, json}, nil
}

func text(event *C.leash_event, field C.int) string {
	var length C.size_t
	begin := C.leash_event_str(event, field, &length)
	return C.GoStringN(begin, C.int(length))
}
