package demo

import "testing"

func TestJudge(t *testing.T) {
	const header = "HTTP/1.1 200 OK\r\nServer: nginx\r\nX-Real-Server: rs2\r\n\r\n"
	for name, row := range map[string]struct {
		header, text string
		ok           bool
	}{
		"the client":             {header, "Your ip:port : 10.0.0.48:37177\n", true},
		"another port":           {header, "Your ip:port : 10.0.0.48:37178\n", false},
		"the local address":      {header, "Your ip:port : 192.168.100.200:1025\n", false},
		"a page of errors":       {header, "<html>502</html>\n", false},
		"nothing":                {header, "", false},
		"who it is was not said": {"HTTP/1.1 200 OK\r\n\r\n", "Your ip:port : 10.0.0.48:37177\n", false},
	} {
		t.Run(name, func(t *testing.T) {
			server, err := judge(row.header, row.text, firstPort)
			if (err == nil) != row.ok || row.ok && server != "rs2" {
				t.Errorf("judged %q, %v; want ok %v", server, err, row.ok)
			}
		})
	}
}
