package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io/ioutil"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// behind is a computer that stands behind a virtual machine: a Redfish controller that is told of every
// change of power, and the address that VMware Tools report for it.
type behind struct {
	Address  string
	NoTools  bool
	URL      string // of the action ComputerSystem.Reset; "" for none
	User     string
	Password string
	CAFile   string
}

func (b behind) reset(kind string) *types.LocalizedMethodFault {
	if b.URL == "" {
		return nil
	}
	client := http.Client{Timeout: 30 * time.Second}
	if b.CAFile != "" {
		pem, err := ioutil.ReadFile(b.CAFile)
		check(err)
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(pem)
		client.Transport = &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}
	}
	body := []byte(fmt.Sprintf(`{"ResetType": %q}`, kind))
	request, err := http.NewRequest(http.MethodPost, b.URL, bytes.NewReader(body))
	check(err)
	request.SetBasicAuth(b.User, b.Password)
	request.Header.Set("Content-Type", "application/json")
	answer, err := client.Do(request)
	if err != nil {
		return failed(&types.SystemError{}, err.Error())
	}
	defer answer.Body.Close()
	if answer.StatusCode >= 300 {
		return failed(&types.SystemError{}, fmt.Sprintf("%s answered %s to %s", b.URL, answer.Status, kind))
	}
	return nil
}

func update(object mo.Reference, changes []types.PropertyChange) {
	simulator.Map.WithLock(object, func() { simulator.Map.Update(object, changes) })
}

func (f *front) snapshot(
	request *types.CreateSnapshot_Task, vm *simulator.VirtualMachine,
) (types.AnyType, *types.LocalizedMethodFault) {
	saved := state{types.VirtualMachinePowerStatePoweredOff, vm.Config.Hardware.NumCPU, vm.Config.Hardware.MemoryMB}
	if request.Memory {
		saved.power = vm.Runtime.PowerState
	}
	made, fault := f.inner(&methods.CreateSnapshot_TaskBody{Req: request}, &methods.CreateSnapshot_TaskBody{})
	if fault != nil {
		return nil, fault
	}
	ref := made.(types.ManagedObjectReference)
	f.states[ref] = saved
	simulator.Map.WithLock(vm, func() {
		mark(vm.Snapshot.RootSnapshotList, ref, saved.power)
		files := vm.LayoutEx.Snapshot
		if saved.power == types.VirtualMachinePowerStatePoweredOn && len(files) > 0 {
			files[len(files)-1].MemoryKey = files[len(files)-1].DataKey
		}
	})
	return ref, nil
}

// mark sets the power state that a snapshot will bring back; the simulator leaves the machine's there.
func mark(tree []types.VirtualMachineSnapshotTree, ref types.ManagedObjectReference, power types.VirtualMachinePowerState) {
	for i := range tree {
		if tree[i].Snapshot == ref {
			tree[i].State = power
		}
		mark(tree[i].ChildSnapshotList, ref, power)
	}
}

func (f *front) revert(
	request *types.RevertToSnapshot_Task, vm *simulator.VirtualMachine, now control,
) (types.AnyType, *types.LocalizedMethodFault) {
	body := &methods.RevertToSnapshot_TaskBody{Req: request}
	if _, fault := f.inner(body, &methods.RevertToSnapshot_TaskBody{}); fault != nil {
		return nil, fault
	}
	saved := f.states[request.This]
	if now.Reluctant || (request.SuppressPowerOn != nil && *request.SuppressPowerOn) {
		saved.power = types.VirtualMachinePowerStatePoweredOff
	}
	update(vm, []types.PropertyChange{
		{Name: "config.hardware.numCPU", Val: saved.cpus},
		{Name: "config.hardware.memoryMB", Val: saved.memoryMB},
		{Name: "summary.config.numCpu", Val: saved.cpus},
		{Name: "summary.config.memorySizeMB", Val: saved.memoryMB},
		{Name: "runtime.powerState", Val: saved.power},
		{Name: "summary.runtime.powerState", Val: saved.power},
	})
	on := saved.power == types.VirtualMachinePowerStatePoweredOn
	other := now.Behind[vm.Name]
	setGuest(vm, other, on)
	if fault := other.reset("ForceOff"); fault != nil || !on {
		return nil, fault
	}
	return nil, other.reset("On")
}

func screenshot(vm *simulator.VirtualMachine) (types.AnyType, *types.LocalizedMethodFault) {
	if vm.Runtime.PowerState != types.VirtualMachinePowerStatePoweredOn {
		return nil, wrongPower(vm)
	}
	var place object.DatastorePath
	place.FromString(vm.Config.Files.VmPathName)
	name := strings.TrimSuffix(path.Base(place.Path), ".vmx") + "-1.png"
	place.Path = path.Join(path.Dir(place.Path), name)
	blue := image.NewRGBA(image.Rect(0, 0, 16, 12))
	for i := 0; i < 16*12; i++ {
		blue.Set(i%16, i/16, color.RGBA{0, 0x78, 0xD7, 0xFF})
	}
	var picture bytes.Buffer
	check(png.Encode(&picture, blue))
	for _, ref := range vm.Datastore {
		store := simulator.Map.Get(ref).(*simulator.Datastore)
		if store.Name == place.Datastore {
			file := filepath.Join(store.Info.GetDatastoreInfo().Url, place.Path)
			check(ioutil.WriteFile(file, picture.Bytes(), os.FileMode(0600)))
		}
	}
	return place.String(), nil
}
