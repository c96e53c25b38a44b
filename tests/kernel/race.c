/*
 * Calls whose arguments a neighbour rewrites all the while: race open|connect|exec COUNT FOLDER.
 *
 * The neighbour shares the memory and nothing else (CLONE_VM without CLONE_FILES), so the descriptor table is the
 * caller's own and no record has a reason to be flagged: each must say what the kernel really did.
 *
 * open     creates NUMBER.a or NUMBER.b in FOLDER: which of the two is there then.
 * connect  connects a UDP socket to port 1001 or 1002: FOLDER/connected says "COOKIE PORT" as getpeername has it.
 * exec     starts FOLDER/prog-a or prog-b (this program) with "a" or "b", whose exit status says which it was.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define PACE 32 /* calls at one go: a reader that is held up must not lose what the test counts */
#define PAUSE_US 1000
#define PORT 1001 /* and the one behind it */

static volatile char *volatile toggled[2]; /* what the neighbour rewrites: 'a' and 'b', or the low byte of a port */
static volatile int is_running;
static char stack[65536];

static int neighbour(void *unused)
{
	(void)unused;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (;;) {
		is_running = 1;
		*toggled[0] ^= 3; /* 'a' ^ 'b' == 3, 1001 ^ 1002 == 3 */
		*toggled[1] ^= 3;
	}
	return 0;
}

static pid_t start_neighbour(void)
{
	pid_t pid = clone(neighbour, stack + sizeof(stack), CLONE_VM | SIGCHLD, NULL);
	if (pid < 0) {
		perror("clone");
		exit(1);
	}
	while (!is_running)
		usleep(PAUSE_US);
	return pid;
}

static void paced(int number)
{
	if (number % PACE == 0)
		usleep(PAUSE_US);
}

static void race_opens(int count)
{
	static char name[32];
	for (int number = 0; number < count; number++) {
		snprintf(name, sizeof(name), "%06d.a", number);
		toggled[0] = toggled[1] = name + strlen(name) - 1;
		toggled[1] = stack;
		int fd = open(name, O_CREAT | O_WRONLY | O_EXCL, 0600);
		toggled[0] = stack;
		if (fd >= 0)
			close(fd);
		paced(number);
	}
}

static void race_connects(int count)
{
	static struct sockaddr_in to = { .sin_family = AF_INET };
	FILE *told = fopen("connected", "w");
	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	to.sin_port = htons(PORT);
	toggled[0] = (char *)&to.sin_port + 1;
	for (int number = 0; number < count; number++) {
		struct sockaddr_in peer;
		socklen_t length = sizeof(peer), eight = 8;
		unsigned long long cookie;
		int fd = socket(AF_INET, SOCK_DGRAM, 0);
		if (connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0 && getpeername(fd, (struct sockaddr *)&peer, &length) == 0 &&
		    getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &eight) == 0)
			fprintf(told, "%llu %d\n", cookie, ntohs(peer.sin_port));
		close(fd);
		paced(number);
	}
	fclose(told);
}

static void race_execs(int count)
{
	static char program[] = "prog-a", argument[] = "a";
	char *arguments[] = { program, argument, NULL };
	toggled[0] = program + 5;
	toggled[1] = argument;
	while (count-- > 0) {
		pid_t pid = vfork();
		if (pid == 0) {
			execve(program, arguments, NULL);
			_exit(9);
		}
		waitpid(pid, NULL, 0);
	}
}

/* The started program: bit 0 is which program it is, bit 1 its argument. */
static int what_was_started(const char *argument)
{
	char path[4096];
	ssize_t length = readlink("/proc/self/exe", path, sizeof(path) - 1);
	if (length <= 0)
		return 8;
	return (path[length - 1] == 'b') | (argument[0] == 'b') << 1;
}

int main(int count, char **arguments)
{
	if (count == 2)
		return what_was_started(arguments[1]);
	toggled[0] = toggled[1] = stack;
	if (count != 4 || chdir(arguments[3]))
		return 1;
	pid_t pid = start_neighbour();
	int times = atoi(arguments[2]);
	if (!strcmp(arguments[1], "open"))
		race_opens(times);
	else if (!strcmp(arguments[1], "connect"))
		race_connects(times);
	else
		race_execs(times);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	return 0;
}
