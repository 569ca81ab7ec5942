/* A preload for linux.uml alone. UML keeps as much of a child's extended registers
 * as its own structure has room for, which is less than what a CPU with AMX has. Linux refuses
 * (EFAULT, EINVAL) to set a part of them, and the guest dies at its first process. So: get all that there
 * is, let UML have its part, and when it sets that part lay it over the rest. What lies
 * beyond is AMX's, which nobody in the guest has asked for and which is thus
 * the same for all. */
#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { xstate = 0x202 }; /* NT_X86_XSTATE */

static char whole[64 << 10] __attribute__((aligned(64)));
static size_t whole_len;

static long raw(long request, long pid, unsigned long where, void *data)
{
	return syscall(SYS_ptrace, request, pid, where, data);
}

static long get_whole(long pid)
{
	struct iovec v = {whole, sizeof whole};
	long err = raw(PTRACE_GETREGSET, pid, xstate, &v);

	if (err == 0)
		whole_len = v.iov_len;
	return err;
}

long ptrace(enum __ptrace_request request, ...)
{
	va_list args;
	va_start(args, request);
	long pid = va_arg(args, long);
	unsigned long where = va_arg(args, unsigned long);
	void *data = va_arg(args, void *);
	va_end(args);

	struct iovec *part = data;
	if (request == PTRACE_GETREGSET && where == xstate) {
		long err = get_whole(pid);
		if (err)
			return err;
		if (part->iov_len > whole_len)
			part->iov_len = whole_len;
		memcpy(part->iov_base, whole, part->iov_len);
		return 0;
	}
	if (request == PTRACE_SETREGSET && where == xstate) {
		if (whole_len == 0 && get_whole(pid))
			return -1;
		memcpy(whole, part->iov_base, part->iov_len < whole_len ? part->iov_len : whole_len);
		struct iovec v = {whole, whole_len};
		return raw(request, pid, where, &v);
	}
	/* libc's ptrace returns what these read, the system call stores it. */
	if (request == PTRACE_PEEKTEXT || request == PTRACE_PEEKDATA || request == PTRACE_PEEKUSER) {
		long word;
		if (raw(request, pid, where, &word))
			return -1;
		errno = 0;
		return word;
	}
	return raw(request, pid, where, data);
}
