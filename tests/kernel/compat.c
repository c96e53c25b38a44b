// SPDX-License-Identifier: GPL-2.0
//
// What the probes are for, done once each: by the calls of x86-64 (NATIVE), by
// those of i386 with int 0x80, or by the forms of these that came first (OLD).
// For 32 and 64 bits; without a C library, whose calls would be the machine's own.

#ifdef NATIVE
#include <asm/unistd_64.h>
#else
#include <asm/unistd_32.h>
#endif

#if __SIZEOF_POINTER__ == 8
#define BASE "%%rbp"
#define CLOBBERED "memory", "r8", "r9", "r10", "r11"
#else
#define BASE "%%ebp"
#define CLOBBERED "memory"
#endif

int sixth;

static int call(int number, long a, long b, long c, long d, long e, long f)
{
#ifdef NATIVE
	long result;
	register long fourth __asm__("r10") = d;
	register long fifth __asm__("r8") = e;
	register long last __asm__("r9") = f;
	__asm__ volatile("syscall"
			 : "=a"(result)
			 : "a"((long)number), "D"(a), "S"(b), "d"(c), "r"(fourth), "r"(fifth), "r"(last)
			 : "memory", "rcx", "r11");
#else
	int result;
	sixth = f;
	__asm__ volatile("push " BASE "; mov sixth, %%ebp; int $0x80; pop " BASE
			 : "=a"(result)
			 : "a"(number), "b"(a), "c"(b), "d"(c), "S"(d), "D"(e)
			 : CLOBBERED);
#endif
	return result;
}

#define ALL(number, a, b, c, d, e, f, ...) call(number, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))
#define CALL(name, ...) ALL(__NR_##name, __VA_ARGS__, 0, 0, 0, 0, 0, 0)

static int block[6]; // arguments in memory
#ifdef OLD
#define SOCKET_CALL(number, name, a, b, c) \
	(block[0] = (int)(a), block[1] = (int)(b), block[2] = (int)(c), CALL(socketcall, number, block))
#define UMOUNT(target) CALL(umount, target, 5) // what it does not take is not told
#define ACCEPT(fd) SOCKET_CALL(5, accept4, fd, 0, 0)
#define SETGID(id) CALL(setgid, id)
#define SETUID(id) CALL(setuid, id)
#define FCNTL(fd, command, value) CALL(fcntl, fd, command, value)
#define CHOWN(name, file, uid, gid) CALL(name, file, uid, gid)
#define TRUNCATE(name, file, length) CALL(name, file, length)
#else
#define SOCKET_CALL(number, name, a, b, c) CALL(name, a, b, c)
#define UMOUNT(target) CALL(umount2, target, 0)
#define ACCEPT(fd) CALL(accept4, fd, 0, 0, 0)
#ifdef NATIVE
#define SETGID(id) CALL(setgid, id)
#define SETUID(id) CALL(setuid, id)
#define FCNTL(fd, command, value) CALL(fcntl, fd, command, value)
#define CHOWN(name, file, uid, gid) CALL(name, file, uid, gid)
#define TRUNCATE(name, file, length) CALL(name, file, length)
#else
#define SETGID(id) CALL(setgid32, id)
#define SETUID(id) CALL(setuid32, id)
#define FCNTL(fd, command, value) CALL(fcntl64, fd, command, value)
#define CHOWN(name, file, uid, gid) CALL(name##32, file, uid, gid)
#define TRUNCATE(name, file, length) CALL(name##64, file, length, 0)
#endif
#endif

#ifdef NATIVE
#define TRUNCATE64(name, file, low, high) CALL(name, file, (low) | (long)(high) << 32)
#else
#define TRUNCATE64(name, file, low, high) CALL(name##64, file, low, high)
#endif

static unsigned short internet[8] = { 2, 0, 0x007f, 0x0100 }; // 127.0.0.1, a port of the kernel's choice
static struct {
	unsigned short family;
	char path[8];
} local = { 1, "nobody" };
static unsigned long long how[3] = { 0102, 0600, 0 }; // struct open_how: O_CREAT | O_RDWR
static unsigned int ring[30] = { 0, 0, 2 }; // struct io_uring_params: IORING_SETUP_SQPOLL
static int refused[8] = { 99, 4, 4, 8 }; // union bpf_attr: a map of a type that there is none of
static unsigned int attributes[28] = { 1, 112, 3 }; // struct perf_event_attr: context switches
static char page[4096] __attribute__((aligned(4096)));
static char *arguments[] = { "true", 0 };

static void files(void)
{
	CALL(open, "first", 0100101, 0600); // O_LARGEFILE, which 64 bits imply, O_CREAT, O_WRONLY
	CALL(openat, -100, "second", 0100101, 0600);
	CALL(openat2, -100, "third", how, sizeof(how));
	CALL(creat, "fourth", 0600);
	CALL(rename, "first", "renamed");
	CALL(renameat2, -100, "second", -100, "fourth", 2); // RENAME_EXCHANGE
	CALL(link, "third", "linked");
	CALL(symlinkat, "linked", -100, "symbolic");
	CALL(unlink, "renamed");
	CALL(unlinkat, -100, "linked", 0);
	CALL(chmod, "third", 04711);
	CALL(fchmodat, -100, "third", 0600);
	CHOWN(chown, "third", 1, -1);
	CHOWN(lchown, "symbolic", -1, 2);
	CHOWN(fchown, CALL(open, "third", 0, 0), 70, 65534);
	CALL(fchownat, -100, "third", 0, 0, 0x100);
	TRUNCATE(truncate, "third", 7);
	TRUNCATE64(ftruncate, CALL(open, "third", 0101001, 0), 9, 1);
	CALL(memfd_create, "hidden", 1);
	CALL(mount, "/dev/a", "nowhere", "tmpfs", 4096);
	UMOUNT("nowhere");
	CALL(move_mount, -100, "nowhere", -100, "elsewhere", 0);
	CALL(fsopen, "nothing", 1);
	CALL(fsconfig, -1, 1, "size", "1m", 0);
	CALL(open_tree, -100, "/proc", 1);
}

static void memory(void)
{
	int program = CALL(open, "/bin/true", 0, 0);
#ifdef OLD
	block[1] = 4096, block[2] = 5, block[3] = 2, block[4] = program; // struct mmap_arg_struct32
	CALL(mmap, block);
#elif defined(NATIVE)
	CALL(mmap, 0, 4096, 5, 2, program, 0); // PROT_READ | PROT_EXEC, MAP_PRIVATE
#else
	CALL(mmap2, 0, 4096, 5, 2, program, 0);
#endif
	CALL(mprotect, page, sizeof(page), 7);
	CALL(userfaultfd, 1);
	CALL(io_uring_setup, 5, ring);
	CALL(perf_event_open, attributes, 0, -1, -1, 8);
	CALL(ptrace, 16, CALL(getpid, 0), 0, 0); // PTRACE_ATTACH to itself: refused
	CALL(process_vm_writev, 0x7ffffffe, 0, 0, 0, 0, 0);
	CALL(bpf, 0, refused, sizeof(refused));
}

static void network(void)
{
	static int bytes = sizeof(internet);
	int raw = SOCKET_CALL(1, socket, 2, 3, 1); // AF_INET, SOCK_RAW, IPPROTO_ICMP
	int named = SOCKET_CALL(1, socket, 1, 1, 0);
	SOCKET_CALL(3, connect, named, &local, sizeof(local));
	int server = SOCKET_CALL(1, socket, 2, 1, 0);
	int client = SOCKET_CALL(1, socket, 2, 1, 0);
	SOCKET_CALL(2, bind, server, internet, sizeof(internet));
	SOCKET_CALL(4, listen, server, 1, 0);
	SOCKET_CALL(6, getsockname, server, internet, &bytes);
	SOCKET_CALL(3, connect, client, internet, sizeof(internet));
	ACCEPT(server);
	CALL(dup2, client, 0);
	CALL(close, 0);
	FCNTL(client, 0, 0); // F_DUPFD
	CALL(close, raw);
}

// Before anything is done: FORK, a child goes on two seconds after its parent has ended;
// WAIT, two seconds go by; READ, somebody writes to standard input.
static void begin(void)
{
	static long two_seconds[2] = { 2, 0 };
#ifdef FORK
	if (CALL(fork, 0) != 0)
		CALL(exit, 0);
	CALL(nanosleep, two_seconds, 0);
#endif
#ifdef WAIT
	CALL(nanosleep, two_seconds, 0);
#endif
#ifdef READ
	CALL(read, 0, page, 1);
#endif
}

void _start(void)
{
	begin();
	files();
	memory();
	network();
	CALL(prctl, 15, "renamed", 0, 0, 0); // PR_SET_NAME
	CALL(unshare, 0x04000000); // CLONE_NEWUTS
	CALL(setns, -1, 0x04000000);
	SETGID(1);
	SETUID(1);
	CALL(chdir, ".//../.");
	CALL(fchdir, CALL(open, "/usr", 0, 0));
	CALL(chroot, ".//nowhere");
	CALL(pivot_root, "nowhere", "elsewhere");
	CALL(execve, "/bin/true", arguments, 0);
	CALL(exit, 1);
}
