package main

import "errors"

func veth([]string) error     { return errors.New("see below") }
func vethPart([]string) error { return errors.New("see below") }
