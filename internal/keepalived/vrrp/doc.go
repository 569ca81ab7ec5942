// Package vrrp runs the distribution's own keepalived for VRRP alone, and says what
// becomes of its instances.
//
// Enters: the VRRP side of a keepalived.conf; what the stock program writes to its
// notify FIFO and to its log.
// Leaves: the state of each instance, as it changes; FAULT for all of them when the
// program is dead.
// Owns: the program, its configuration file, its FIFO and its pid files, all in a
// directory of their own. The program ends with us, however we end.
// Drops: words of the FIFO that say no state.
// See: keepalived.conf(5), vrrp_notify_fifo; prctl(2), PR_SET_PDEATHSIG.
package vrrp
