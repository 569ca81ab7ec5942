package flow

//go:generate go run ./genheader -in layout.go -out ../../bpf/flow.h
