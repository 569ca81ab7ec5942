// Package e2e holds the tests that run the real binaries on real packets: the
// tutorial's network made of namespaces, the director in its place, nginx, dnsmasq
// and iperf3 behind it, curl and load generators before it, tcpdump and tshark as
// judges.
//
// Enters: the sources of this module, which the tests build once.
// Leaves: nothing but verdicts.
// Owns: its namespaces, processes, control groups, pins and temporary files; all go
// with each test.
// Drops: nothing: a machine that lacks a tool or root fails the tests with a
// sentence that says so; no test is skipped.
// See: "Simple Full-NAT (two-arm)" of the DPVS tutorial.
//
// WEIR_E2E_FULL=1 runs the greatest numbers in every cell of the traffic matrix,
// not only in one cell for each driver.
package e2e
