package ipvsadm

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"weir/api/weirv1"
)

// direct answers requests by a handler, without a socket.
type direct struct{ handler http.Handler }

func (d direct) Do(q *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	d.handler.ServeHTTP(w, q)
	return w.Result(), nil
}

// inProcess returns a client of f that needs no socket.
func inProcess(f *fake) weirv1.DirectorClient {
	return weirv1.NewDirectorClient(direct{f}, "http://weir")
}

// FuzzRun gives Run any words: no panic; what is refused by its words makes no call; what
// changes something is one call; standard output is for what was done only.
func FuzzRun(f *testing.F) {
	for _, line := range []string{
		"", "-ln", "-lnc --sockpair tcp:1.1.1.1:1:2.2.2.2:2", "-h", "-S -n", "-G",
		"-At 10.0.0.100:80 -s rr -p 5 -M 255.255.255.0 --dest-check 1,1,3s,5-3600s",
		"-a -u www.example.com:53 -r 192.168.100.2 -b -w 1 -x 2 -y 1",
		"-A -t 10.0.0.100:80 --proxy-protocol v1-insecure --toa disable", "-E -u 10.0.0.100:53 --uoa opp", "-E -u 10.0.0.100:53 --uoa ipo --proxy-protocol v2",
		"-A -s rr -H proto=tcp,src-range=192.168.100.0-192.168.100.254:1-2,oif=dpdk1",
		"-A -H proto=udp,src-range=[::1-::2]:1-2 -s rr", "-A -t [2001:db8::1]:80 -p 5 -M 64", "-a -t 2001:db8::1 -r [2001:db8::2]:80 -b", "-lnc --sockpair tcp:[::1]:1:[::2]:2", "-A -H src-range=[::1-::2]:1-2 -6", "-A -f 1 -6", "--set 1 2 3",
		"-P -z 192.168.100.200 -t 10.0.0.100:80 -F dpdk0", "-U -t [::1]:80 -k ipset:x",
	} {
		f.Add(strings.ReplaceAll(line, " ", "\x00"))
	}
	f.Fuzz(func(t *testing.T, packed string) {
		var args []string
		if packed != "" {
			args = strings.Split(packed, "\x00")
		}
		box := &fake{}
		r := run(t, inProcess(box), "", args...)
		_, err := parse(t.Context(), args, fakeNames{})
		switch {
		case err != nil && (len(box.calls) != 0 || r.stdout != "" || r.exit != err.(*refusal).exit || r.stderr != err.Error()+"\n"):
			t.Errorf("%q: refused (%v), yet %+v and calls %v", args, err, r, box.calls)
		case err == nil && len(box.changes()) > 1:
			t.Errorf("%q: more than one change: %v", args, box.calls)
		case (r.exit == 0) != (r.stderr == ""):
			t.Errorf("%q: exit %d with %q", args, r.exit, r.stderr)
		}
	})
}

// FuzzRestore gives -R any file: no panic, and a line that is wrong or refused leaves
// everything as it was.
func FuzzRestore(f *testing.F) {
	f.Add(saved)
	f.Add("-A -t 10.0.0.100:80\n# x\n\nipvsadm -C\ndpip addr show\n")
	f.Add("weir\n./dpip\n-R\n")
	f.Fuzz(func(t *testing.T, file string) {
		box := &fake{}
		r := run(t, inProcess(box), file, "-R")
		if strings.HasSuffix(r.stderr, "\nnothing was changed\n") && (r.exit == 0 || len(box.changes()) != 0) {
			t.Errorf("exit %d, calls %v", r.exit, box.calls)
		}
	})
}

// FuzzServiceRoundTrip: what a line of -A says is saved as a line that says the same.
func FuzzServiceRoundTrip(f *testing.F) {
	f.Add("-A -t 10.0.0.100:80 -s rr")
	f.Add("-A -u 10.0.0.100:53 -o -p 9 -M 255.0.0.0 --pe x --conn-timeout 3 --expire-quiescent")
	f.Add("-A -t 10.0.0.100:80 --proxy-protocol v2-insecure --toa disable")
	f.Add("-A -u 10.0.0.100:53 --uoa ipo --proxy-protocol disable")
	f.Add("-A -t [2001:db8::100]:80 -p 9 -M 64")
	f.Add("-A -H proto=icmpv6,src-range=[::-::9],dst-range=[::]:1-2,oif=dpdk1")
	f.Fuzz(func(t *testing.T, text string) {
		first, err := parse(t.Context(), strings.Fields(text), fakeNames{})
		if err != nil || first.verb != cmdAddService {
			return
		}
		lines := serviceLines(first.service)
		again, err := parse(t.Context(), strings.Fields(lines[0]), fakeNames{})
		if err != nil {
			t.Fatalf("%q was saved as %q: %v", text, lines[0], err)
		}
		if !slices.Equal(serviceLines(again.service), lines) {
			t.Errorf("%q was saved as %q, then as %q", text, lines[0], serviceLines(again.service)[0])
		}
	})
}
