package vrrp

import "strings"

// State is what an instance is in, in stock keepalived's words.
type State string

// The states. Those that are not Master have no addresses.
const (
	Master  State = "MASTER"
	Backup  State = "BACKUP"
	Fault   State = "FAULT"
	Stopped State = "STOP"
)

// parse reads a line of the notify FIFO: INSTANCE "NAME" STATE PRIORITY. Of groups and of
// priorities nothing is to be learnt.
func parse(line string) (instance string, s State, ok bool) {
	rest, is := strings.CutPrefix(line, `INSTANCE "`)
	if !is {
		return "", "", false
	}
	end := strings.LastIndexByte(rest, '"')
	if end < 0 {
		return "", "", false
	}
	words := strings.Fields(rest[end+1:])
	if len(words) == 0 {
		return "", "", false
	}
	switch s = State(words[0]); s {
	case Master, Backup, Fault, Stopped:
		return rest[:end], s, true
	case "DELETED":
		return rest[:end], Stopped, true
	}
	return "", "", false
}
