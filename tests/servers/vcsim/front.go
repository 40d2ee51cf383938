package main

import (
	"bytes"
	"encoding/json"
	"io"
	"io/ioutil"
	"net/http"
	"os"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// control is what a test says about the server while it runs: the JSON of the file given by -control.
type control struct {
	// Delay has the seconds before a method is answered, by name; "" for every method.
	Delay map[string]float64
	// Work has the seconds that a task of a method takes.
	Work map[string]float64
	// Finish: tasks that still run end now.
	Finish bool
	// Stuck tasks cannot be cancelled.
	Stuck bool
	// Faults come instead of what a method would do: as its task's error, or as the method's own fault.
	Faults []fault
	// Sessions: when this number changes, the server forgets all sessions.
	Sessions int
	// Drop has the names of methods whose connection is closed without an answer, after they were carried out.
	Drop []string
	// Reluctant: a machine is off after every restore, whatever the snapshot says.
	Reluctant bool
	// Question is asked by every machine while one of its tasks runs.
	Question string
	// Free has the GiB that datastores have free, by name; others have what the computer's own disk has.
	Free map[string]float64
	// Behind has what stands behind a virtual machine, by the machine's name.
	Behind map[string]behind
}

type fault struct {
	Method  string
	VM      string // name; "" for all
	Fault   string // name of the type, e.g. InsufficientResourcesFault
	Message string
	Times   int  // 0: always
	Bare    bool // without values that the fault must have: pyvmomi cannot take it
}

// front stands before the simulator's handlers: it knows the sessions, and does what machines.go has.
type front struct {
	service *simulator.Service
	file    string
	record  *os.File

	mu       sync.Mutex // held by whatever changes the inventory
	own      sync.Mutex // of the fields below
	sessions map[string]bool
	asked    int
	used     map[string]int
	states   map[types.ManagedObjectReference]state         // of snapshots; guarded by mu
	jobs     map[types.ManagedObjectReference]chan struct{} // of tasks that run, to cancel them
}

func newFront(service *simulator.Service, controlFile, recordFile string) *front {
	f := &front{
		service:  service,
		file:     controlFile,
		sessions: map[string]bool{},
		used:     map[string]int{},
		states:   map[types.ManagedObjectReference]state{},
		jobs:     map[types.ManagedObjectReference]chan struct{}{},
	}
	if recordFile != "" {
		record, err := os.OpenFile(recordFile, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0600)
		check(err)
		f.record = record
	}
	return f
}

func (f *front) control() control {
	var found control
	if text, err := ioutil.ReadFile(f.file); err == nil {
		check(json.Unmarshal(text, &found))
	}
	f.own.Lock()
	defer f.own.Unlock()
	if found.Sessions != f.asked {
		f.asked = found.Sessions
		f.sessions = map[string]bool{}
	}
	return found
}

func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	now := f.control()
	session := ""
	if cookie, err := r.Cookie(soap.SessionCookieName); err == nil {
		session = strings.Trim(cookie.Value, `"`)
	}
	f.own.Lock()
	known := f.sessions[session]
	f.own.Unlock()
	switch {
	case r.Method == http.MethodPost && r.URL.Path == "/sdk":
		f.serveSDK(w, r, now, session, known)
	case strings.HasPrefix(r.URL.Path, "/folder/") && !known:
		w.WriteHeader(http.StatusUnauthorized) // the simulator would hand it out
	default:
		f.service.ServeMux.ServeHTTP(w, r)
	}
}

// withoutSession may be called by anybody, as in a vCenter. The simulator lets strangers read properties too.
var withoutSession = map[string]bool{"RetrieveServiceContent": true, "Login": true}

func (f *front) serveSDK(w http.ResponseWriter, r *http.Request, now control, session string, known bool) {
	body, err := ioutil.ReadAll(io.LimitReader(r.Body, 16<<20))
	if err != nil {
		return
	}
	method, err := simulator.UnmarshalBody(types.TypeFunc(), body)
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	f.note(method.Name, nameOf(method.This))
	pause(now.Delay[""] + now.Delay[method.Name])
	fill(now.Free)
	if !known {
		r.Header.Del("Cookie")
		if !withoutSession[method.Name] {
			missing := &types.NotAuthenticated{}
			missing.Object, missing.PrivilegeId = method.This, "System.View"
			answer(w, &methods.LoginBody{Fault_: simulator.Fault("The session is not authenticated.", missing)})
			return
		}
	}
	result := f.carryOut(method, now)
	for _, each := range now.Drop {
		if each == method.Name {
			panic(http.ErrAbortHandler)
		}
	}
	if result != nil {
		answer(w, result)
		return
	}
	defer func() {
		if problem := recover(); problem != nil {
			if method.Name != "Fetch" {
				panic(problem)
			}
			answer(w, &done{"Fetch"}) // the simulator panics at a property that is not set
		}
	}()
	r.Body = ioutil.NopCloser(bytes.NewReader(body))
	f.service.ServeMux.ServeHTTP(w, r)
	f.remember(w, method.Name, session)
}

// remember takes notice of sessions that begin or end.
func (f *front) remember(w http.ResponseWriter, method string, session string) {
	f.own.Lock()
	defer f.own.Unlock()
	if method == "Logout" {
		delete(f.sessions, session)
	}
	for _, line := range w.Header()["Set-Cookie"] {
		if value := strings.TrimPrefix(strings.Split(line, ";")[0], soap.SessionCookieName+"="); value != "" {
			f.sessions[strings.Trim(value, `"`)] = true
		}
	}
}

// fault is what the test wants to happen instead, or nil.
func (f *front) fault(now control, method string, of types.ManagedObjectReference) *types.LocalizedMethodFault {
	for _, each := range now.Faults {
		if each.Method != method || (each.VM != "" && each.VM != nameOf(of)) {
			continue
		}
		text, _ := json.Marshal(each)
		f.own.Lock()
		f.used[string(text)]++
		times := f.used[string(text)]
		f.own.Unlock()
		if each.Times > 0 && times > each.Times {
			continue
		}
		kind, known := types.TypeFunc()(each.Fault)
		if !known {
			kind = reflect.TypeOf(types.SystemError{})
		}
		made := reflect.New(kind).Interface().(types.BaseMethodFault)
		if power, ok := made.(*types.InvalidPowerState); ok && !each.Bare {
			power.ExistingState = types.VirtualMachinePowerStatePoweredOff
		}
		if busy, ok := made.(*types.TaskInProgress); ok {
			busy.Task = types.ManagedObjectReference{Type: "Task", Value: "task-0"}
		}
		if denied, ok := made.(*types.NoPermission); ok {
			denied.Object, denied.PrivilegeId = of, "Some.Privilege"
		}
		return failed(made, each.Message)
	}
	return nil
}

func failed(fault types.BaseMethodFault, message string) *types.LocalizedMethodFault {
	return &types.LocalizedMethodFault{Fault: fault, LocalizedMessage: message}
}

// note writes down that a method was called, for tests that ask what reached the server.
func (f *front) note(method, name string) {
	if f.record == nil {
		return
	}
	line, _ := json.Marshal(map[string]string{"method": method, "of": name})
	_, _ = f.record.Write(append(line, '\n'))
}

func pause(seconds float64) {
	time.Sleep(time.Duration(seconds * float64(time.Second)))
}

// answer writes what the simulator would have written; its own way of doing so is not exported.
func answer(w http.ResponseWriter, result soap.HasFault) {
	var body interface{} = result
	if fault := result.Fault(); fault != nil {
		w.WriteHeader(http.StatusInternalServerError)
		body = faultBody(fault)
	}
	_, _ = w.Write(envelope(body))
}
