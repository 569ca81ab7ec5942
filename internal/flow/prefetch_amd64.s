#include "textflag.h"

// func vendor() (b, d, c uint32)
TEXT ·vendor(SB), NOSPLIT, $0-12
	XORL AX, AX
	XORL CX, CX
	CPUID
	MOVL BX, b+0(FP)
	MOVL DX, d+4(FP)
	MOVL CX, c+8(FP)
	RET

// func prefetch(addrs *unsafe.Pointer, n int)
TEXT ·prefetch(SB), NOSPLIT, $0-16
	MOVQ addrs+0(FP), SI
	MOVQ n+8(FP), CX
	TESTQ CX, CX
	JLE  done
	CMPB ·second(SB), $0
	JNE  second
first:
	MOVQ (SI), AX
	PREFETCHT0 (AX)
	ADDQ $8, SI
	DECQ CX
	JNZ  first
	RET
second:
	MOVQ (SI), AX
	PREFETCHT1 (AX)
	ADDQ $8, SI
	DECQ CX
	JNZ  second
done:
	RET

// func prefetch2(addrs *unsafe.Pointer, n int)
TEXT ·prefetch2(SB), NOSPLIT, $0-16
	MOVQ addrs+0(FP), SI
	MOVQ n+8(FP), CX
	TESTQ CX, CX
	JLE  done
	CMPB ·second(SB), $0
	JNE  second
first:
	MOVQ (SI), AX
	PREFETCHT0 (AX)
	PREFETCHT0 64(AX)
	ADDQ $8, SI
	DECQ CX
	JNZ  first
	RET
second:
	MOVQ (SI), AX
	PREFETCHT1 (AX)
	PREFETCHT1 64(AX)
	ADDQ $8, SI
	DECQ CX
	JNZ  second
done:
	RET

// func prefetchPath(addrs *unsafe.Pointer, n int)
TEXT ·prefetchPath(SB), NOSPLIT, $0-16
	MOVQ addrs+0(FP), SI
	MOVQ n+8(FP), CX
	TESTQ CX, CX
	JLE  done
	CMPB ·second(SB), $0
	JEQ  first
	PCALIGN $32 // a loop of 26 bytes, in one line wherever the function lies
second: // three lines of a path: with four, of which one is read, it stops calling at times
	MOVQ (SI), AX
	PREFETCHT1 (AX)
	PREFETCHT1 64(AX)
	PREFETCHT1 128(AX)
	ADDQ $8, SI
	DECQ CX
	JNZ  second
done:
	RET
first: // four lines behind each other either way
	JMP  ·prefetchWide(SB)

// func prefetchWide(addrs *unsafe.Pointer, n int)
TEXT ·prefetchWide(SB), NOSPLIT, $0-16
	MOVQ addrs+0(FP), SI
	MOVQ n+8(FP), CX
	TESTQ CX, CX
	JLE  done
	CMPB ·second(SB), $0
	JNE  second
first:
	MOVQ (SI), AX
	PREFETCHT0 (AX)
	PREFETCHT0 64(AX)
	PREFETCHT0 128(AX)
	PREFETCHT0 192(AX)
	ADDQ $8, SI
	DECQ CX
	JNZ  first
	RET
second:
	MOVQ (SI), AX
	PREFETCHT1 (AX)
	PREFETCHT1 64(AX)
	PREFETCHT1 128(AX)
	PREFETCHT1 192(AX)
	ADDQ $8, SI
	DECQ CX
	JNZ  second
done:
	RET
