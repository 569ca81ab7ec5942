package dpip

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"connectrpc.com/connect"

	"weir/api/weirv1"
)

var linkCommands = []command{
	{names: []string{"show", "list"}, parse: parseLinkShow, mayRepeat: true},
	{names: []string{"set", "change"}, parse: parseLinkSet},
	{names: []string{"add"}, parse: refusal(noBonding)},
	{names: []string{"del", "delete"}, parse: refusal(noBonding)},
}

const noBonding = "bonding is not supported yet: a port is a device block in dpvs.conf"

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
}

// oneOf makes a check that the value is a or b.
func oneOf(a, b string) func(name, arg string) (string, error) {
	return func(name, arg string) (string, error) {
		if arg != a && arg != b {
			return "", fmt.Errorf("invalid value %q for `%s': use %s or %s", arg, name, a, b)
		}
		return arg, nil
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
	case strings.HasPrefix(word, "bond-"):
		return linkItem{}, errors.New(noBonding)
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
		return nil, errors.New(noBonding)
	}
	if len(words) > 1 {
		return nil, fmt.Errorf("unexpected word %q: write link show [DEV | cpu | cpuN]", words[1])
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
