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

var vlanCommands = []command{
	{names: []string{"show", "list"}, parse: parseVLANShow},
	{names: []string{"add"}, parse: parseVLANAdd},
	{names: []string{"del", "delete"}, parse: parseVLANDel},
}

func parseVLANAdd(_ family, words []string) (action, error) {
	v, err := parseVLAN("vlan add [NAME] link DEV [proto 802.1q|802.1ad] id N", words)
	switch {
	case err != nil:
		return nil, err
	case v.Link == "":
		return nil, errors.New("missing real device: add `link DEVICE'")
	case v.Id == 0:
		return nil, errors.New("missing or invalid VLAN ID: add `id N', from 1 to 4094")
	}
	return func(ctx context.Context, s *session) error {
		_, err := s.dir.AddVLAN(ctx, connect.NewRequest(&weirv1.AddVLANRequest{Vlan: v}))
		return err
	}, nil
}

func parseVLANDel(_ family, words []string) (action, error) {
	v, err := parseVLAN("vlan del { NAME | link DEV [proto 802.1q|802.1ad] id N }", words)
	switch {
	case err != nil:
		return nil, err
	case v.Name == "" && v.Link == "":
		return nil, errors.New("missing both vlan and real device: give the VLAN's name, or `link DEVICE id N'")
	case v.Name == "" && v.Id == 0:
		return nil, errors.New("missing or invalid VLAN ID: add `id N', from 1 to 4094")
	case v.Name != "" && (v.Link != "" || v.Id != 0 || v.Proto != ""):
		return nil, fmt.Errorf("%s names the VLAN: leave out link, proto and id", v.Name)
	}
	return func(ctx context.Context, s *session) error {
		_, err := s.dir.DeleteVLAN(ctx, connect.NewRequest(&weirv1.DeleteVLANRequest{Vlan: v}))
		return err
	}, nil
}

// parseVLANShow reads what to show. DPVS wants a name or a link; here none shows all.
func parseVLANShow(_ family, words []string) (action, error) {
	v, err := parseVLAN("vlan show [NAME | link DEV [proto 802.1q|802.1ad] [id N]]", words)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, s *session) error {
		vlans, err := s.dir.ListVLANs(ctx, connect.NewRequest(&weirv1.ListVLANsRequest{Like: v}))
		if err != nil {
			return err
		}
		for _, v := range vlans.Msg.Vlans {
			s.printf("%s link %s proto %s id %d\n", v.Name, v.Link, v.Proto, v.Id)
		}
		return nil
	}, nil
}

func parseVLAN(form string, words []string) (*weirv1.VLAN, error) {
	v := &weirv1.VLAN{}
	return v, grammar{
		form:    form,
		operand: take(&v.Name, device),
		keywords: []keyword{
			key("link", take(&v.Link, device)),
			key("proto", take(&v.Proto, vlanProto)),
			key("id", func(arg string) error {
				n, err := strconv.ParseUint(arg, 10, 16)
				if err != nil || n < 1 || n > 4094 {
					return fmt.Errorf("missing or invalid VLAN ID: %q is no number from 1 to 4094", arg)
				}
				v.Id = uint32(n)
				return nil
			}),
		},
	}.parse(words)
}

// vlanProto reads the protocol of a tag, in the words of ip(8) and of DPVS.
func vlanProto(arg string) (string, error) {
	switch strings.ToLower(arg) {
	case "802.1q", "vlan":
		return "802.1q", nil
	case "802.1ad", "qinq":
		return "802.1ad", nil
	}
	return "", fmt.Errorf("invalid proto %q: use 802.1q or 802.1ad", arg)
}
