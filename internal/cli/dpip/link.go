package dpip

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"connectrpc.com/connect"

	"weir/api/weirv1"
)

var linkCommands = []command{
	{names: []string{"show", "list"}, parse: parseLinkShow, mayRepeat: true},
	{names: []string{"set", "change"}, parse: parseLinkSet},
	{names: []string{"add"}, parse: parseBondSlave("add")},
	{names: []string{"del", "delete"}, parse: parseBondSlave("del")},
}

// linkItem is something that `link set` sets; value checks and normalizes.
type linkItem struct {
	name  string
	value func(name, arg string) (string, error)
}

var linkItems = []linkItem{
	{"promisc", oneOf("on", "off")},
	{"allmulticast", oneOf("on", "off")},
	{"forward2kni", oneOf("on", "off")},
	{"tc-egress", oneOf("on", "off")},
	{"tc-ingress", oneOf("on", "off")},
	{"lldp", oneOf("on", "off")},
	{"link", oneOf("up", "down")},
	{"addr", func(_, arg string) (string, error) { return lladdr(arg) }},
	{"bond-mode", numberTo(6)},
	{"bond-primary", func(_, arg string) (string, error) { return device(arg) }},
	{"bond-xmit-policy", oneOf("layer2", "layer23", "layer34")},
	{"bond-monitor-interval", numberTo(1<<31 - 1)},
	{"bond-link-up-prop", numberTo(1<<31 - 1)},
	{"bond-link-down-prop", numberTo(1<<31 - 1)},
}

// oneOf makes a check that the value is one of some words.
func oneOf(words ...string) func(name, arg string) (string, error) {
	last := len(words) - 1
	all := strings.Join(words[:last], ", ") + " or " + words[last]
	return func(name, arg string) (string, error) {
		if !slices.Contains(words, arg) {
			return "", fmt.Errorf("invalid value %q for `%s': use %s", arg, name, all)
		}
		return arg, nil
	}
}

// numberTo makes a check that the value is a number from 0 to most. What a setting takes
// of them, the director knows.
func numberTo(most int) func(name, arg string) (string, error) {
	return func(name, arg string) (string, error) {
		n, err := strconv.Atoi(arg)
		if err != nil || n < 0 || n > most {
			return "", fmt.Errorf("invalid value %q for `%s': use a number from 0 to %d", arg, name, most)
		}
		return strconv.Itoa(n), nil
	}
}

const linkSetForm = "link set DEV ITEM VALUE"

// parseLinkSet reads [dev] DEV ITEM VALUE. It takes one item at a time: two
// would be two changes, of which the second may fail.
func parseLinkSet(of family, words []string) (action, error) {
	if len(words) > 1 && words[0] == "dev" {
		words = words[1:]
	}
	if len(words) == 0 {
		return nil, errors.New("no device specified: write " + linkSetForm)
	}
	dev, err := device(words[0])
	if err != nil {
		return nil, err
	}
	if len(words) == 1 {
		return nil, fmt.Errorf("nothing to set: name one of %s", itemNames())
	}
	item, err := findItem(words[1], dev)
	if err != nil {
		return nil, err
	}
	if len(words) == 2 {
		return nil, fmt.Errorf("missing argument for `%s'", item.name)
	}
	value, err := item.value(item.name, words[2])
	if err != nil {
		return nil, err
	}
	if len(words) > 3 {
		return nil, fmt.Errorf("unexpected word %q: write %s, one item at a time", words[3], linkSetForm)
	}
	return func(ctx context.Context, s *session) error {
		_, err := s.dir.SetLink(ctx, connect.NewRequest(&weirv1.SetLinkRequest{Device: dev, Item: item.name, Value: value}))
		return err
	}, nil
}

func findItem(word, dev string) (linkItem, error) {
	for _, item := range linkItems {
		if item.name == word {
			return item, nil
		}
	}
	switch {
	case word == "bond-slave":
		return linkItem{}, fmt.Errorf("cannot set %q: write link add %s bond-slave DEV, or link del", word, dev)
	case word == "up" || word == "down":
		return linkItem{}, fmt.Errorf("cannot set %q: write link set %s link %s", word, dev, word)
	}
	return linkItem{}, fmt.Errorf("cannot set %q: use one of %s", word, itemNames())
}

func itemNames() string {
	names := make([]string, len(linkItems))
	for i, item := range linkItems {
		names[i] = item.name
	}
	return strings.Join(names, ", ")
}

// parseLinkShow reads [[dev] DEV], cpu, or cpuN.
func parseLinkShow(of family, words []string) (action, error) {
	if len(words) > 1 && words[0] == "dev" {
		words = words[1:]
	}
	if len(words) == 2 && words[1] == "status" {
		dev, err := device(words[0])
		if err != nil {
			return nil, err
		}
		return showBond(dev), nil
	}
	if len(words) > 1 {
		return nil, fmt.Errorf("unexpected word %q: write link show [DEV [status] | cpu | cpuN]", words[1])
	}
	if len(words) == 0 {
		return showLinks(""), nil
	}
	if cpu, ok := strings.CutPrefix(words[0], "cpu"); ok {
		if cpu == "" {
			return showWorkers(allCPUs), nil
		}
		if n, err := strconv.ParseInt(cpu, 10, 32); err == nil && n >= 0 {
			return showWorkers(int32(n)), nil
		}
	}
	dev, err := device(words[0])
	if err != nil {
		return nil, err
	}
	return showLinks(dev), nil
}
