#include "textflag.h"

// func prefetch(addrs *unsafe.Pointer, n int)
TEXT ·prefetch(SB), NOSPLIT, $0-16
	MOVD addrs+0(FP), R0
	MOVD n+8(FP), R1
	CBZ  R1, done
loop:
	MOVD.P 8(R0), R2
	PRFM (R2), PLDL1KEEP
	SUB  $1, R1
	CBNZ R1, loop
done:
	RET

// func prefetch2(addrs *unsafe.Pointer, n int)
TEXT ·prefetch2(SB), NOSPLIT, $0-16
	MOVD addrs+0(FP), R0
	MOVD n+8(FP), R1
	CBZ  R1, done
loop:
	MOVD.P 8(R0), R2
	PRFM (R2), PLDL1KEEP
	PRFM 64(R2), PLDL1KEEP
	SUB  $1, R1
	CBNZ R1, loop
done:
	RET

// func prefetchPath(addrs *unsafe.Pointer, n int)
TEXT ·prefetchPath(SB), NOSPLIT, $0-16
	JMP ·prefetchWide(SB) // four lines behind each other either way

// func prefetchWide(addrs *unsafe.Pointer, n int)
TEXT ·prefetchWide(SB), NOSPLIT, $0-16
	MOVD addrs+0(FP), R0
	MOVD n+8(FP), R1
	CBZ  R1, done
loop:
	MOVD.P 8(R0), R2
	PRFM (R2), PLDL1KEEP
	PRFM 64(R2), PLDL1KEEP
	PRFM 128(R2), PLDL1KEEP
	PRFM 192(R2), PLDL1KEEP
	SUB  $1, R1
	CBNZ R1, loop
done:
	RET
