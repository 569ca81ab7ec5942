package vrrp

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// places are where distributions put keepalived.
var places = []string{"/usr/sbin", "/sbin", "/usr/bin", "/bin"}

// Find returns the path of the stock keepalived: the one that is given, or the first in
// the places of distributions that is not this very program.
func Find(given string) (string, error) {
	if given != "" {
		if err := isStock(given); err != nil {
			return "", fmt.Errorf("--vrrp-program %s: %w", given, err)
		}
		return given, nil
	}
	for _, dir := range places {
		path := filepath.Join(dir, "keepalived")
		if isStock(path) == nil {
			return path, nil
		}
	}
	return "", errors.New("VRRP is the business of the distribution's keepalived, which is not installed: apt install keepalived, or say where it is (--vrrp-program)")
}

// isStock refuses what is no stock keepalived. A copy of ours would start a copy of ours.
func isStock(path string) error {
	self, err := os.Stat("/proc/self/exe")
	if err != nil {
		return err
	}
	that, err := os.Stat(path)
	if err != nil {
		return err
	}
	if os.SameFile(self, that) {
		return errors.New("this is Weir's own keepalived")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	said, err := exec.CommandContext(ctx, path, "--version").CombinedOutput()
	if err != nil {
		return fmt.Errorf("it does not say its version: %w", err)
	}
	if !strings.HasPrefix(string(said), "Keepalived v") {
		return errors.New("it is no stock keepalived")
	}
	return nil
}
