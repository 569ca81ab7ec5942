package ipvsadm

import (
	"context"
	"io"

	"connectrpc.com/connect"

	"weir/api/weirv1"
)

// Env is what a command line touches of the world.
type Env struct {
	Stdin          io.Reader // read by -R only
	Stdout, Stderr io.Writer

	// Client is the director; -h and -v do not call it.
	Client weirv1.DirectorClient
	// Socket is where Client calls; it is named when nobody answers.
	Socket string
	// Version is what -v prints.
	Version string
	// Names looks names up; nil is the system's.
	Names Names
}

// Run carries out one command line, without the program's name, and returns the
// exit code (see the package's comment). A line that is refused by its words makes no
// call; every other line is one call that changes something, or only reads.
func Run(ctx context.Context, args []string, env Env) int {
	if env.Names == nil {
		env.Names = &SystemNames{}
	}
	l, err := parse(ctx, args, env.Names)
	if err == nil {
		if l.verb == cmdRestore {
			return env.restore(ctx)
		}
		err = env.do(ctx, l)
	}
	if err != nil {
		return report(env.Stderr, env.Socket, err)
	}
	return exitDone
}

// do carries out a line that has been read, except -R.
func (env *Env) do(ctx context.Context, l *line) error {
	switch l.verb {
	case cmdHelp:
		return env.print(env.banner() + usage)
	case cmdVersion:
		return env.print(env.banner())
	case cmdList:
		if l.given.has(optConnection) {
			return env.listConnections(ctx, l)
		}
		if l.given.has(optTimeout) {
			return env.listTimeouts(ctx)
		}
		return env.listServices(ctx, l)
	case cmdGetLaddr:
		return env.listLocals(ctx, l)
	case cmdGetBlklst, cmdGetWhtlst:
		return env.listAccess(ctx, l)
	case cmdSave:
		return env.save(ctx)
	default:
		return env.change(ctx, l)
	}
}

// change makes the one call of a line that changes something.
func (env *Env) change(ctx context.Context, l *line) (err error) {
	c, key := env.Client, l.key()
	switch l.verb {
	case cmdAddService:
		_, err = c.AddService(ctx, connect.NewRequest(&weirv1.AddServiceRequest{Service: l.service}))
	case cmdEditService:
		_, err = c.EditService(ctx, connect.NewRequest(&weirv1.EditServiceRequest{Service: l.service}))
	case cmdDeleteService:
		_, err = c.DeleteService(ctx, connect.NewRequest(&weirv1.DeleteServiceRequest{Key: key}))
	case cmdFlush:
		_, err = c.FlushServices(ctx, connect.NewRequest(&weirv1.FlushServicesRequest{}))
	case cmdZero:
		_, err = c.ZeroCounters(ctx, connect.NewRequest(&weirv1.ZeroCountersRequest{Key: key}))
	case cmdAddServer:
		_, err = c.AddDest(ctx, connect.NewRequest(&weirv1.AddDestRequest{Key: key, Dest: l.dest}))
	case cmdEditServer:
		_, err = c.EditDest(ctx, connect.NewRequest(&weirv1.EditDestRequest{Key: key, Dest: l.dest}))
	case cmdDeleteServer:
		dest := &weirv1.Dest{Address: l.dest.Address, Port: l.dest.Port}
		_, err = c.DeleteDest(ctx, connect.NewRequest(&weirv1.DeleteDestRequest{Key: key, Dest: dest}))
	case cmdAddLaddr:
		// That the address was on the device before is normal: services share them.
		_, err = c.AddLocalAddress(ctx, connect.NewRequest(&weirv1.AddLocalAddressRequest{Key: key, Local: l.local}))
	case cmdDelLaddr:
		_, err = c.DeleteLocalAddress(ctx, connect.NewRequest(&weirv1.DeleteLocalAddressRequest{Key: key, Local: l.local}))
	case cmdAddBlklst, cmdAddWhtlst:
		_, err = c.AddAccess(ctx, connect.NewRequest(&weirv1.AddAccessRequest{List: l.access()}))
	case cmdDelBlklst, cmdDelWhtlst:
		_, err = c.DeleteAccess(ctx, connect.NewRequest(&weirv1.DeleteAccessRequest{List: l.access()}))
	case cmdSetTimeouts:
		_, err = c.SetTimeouts(ctx, connect.NewRequest(&weirv1.SetTimeoutsRequest{Timeouts: &l.timeouts}))
	default:
		err = notYet("the '" + l.verb.String() + "' command")
	}
	return err
}

// print writes a whole listing at once.
func (env *Env) print(text string) error {
	if _, err := io.WriteString(env.Stdout, text); err != nil {
		return wrong("cannot write the listing: %v", err)
	}
	return nil
}
