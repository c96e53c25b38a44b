/* SPDX-License-Identifier: Apache-2.0
 *
 * One operation in a loop: storm OPERATION COUNT [ARGUMENT], prints nanoseconds per operation.
 * Built and run by bench/sensor.py and bench/hooks.py.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static void open_close(const char *path, int flags)
{
	int fd = open(path, flags, 0600);
	if (fd < 0)
		fail(path);
	close(fd);
}

static void start(void)
{
	char *words[] = { "/bin/true", 0 };
	pid_t child;
	if (posix_spawn(&child, words[0], 0, 0, words, environ))
		fail("posix_spawn");
	if (waitpid(child, 0, 0) != child)
		fail("waitpid");
}

/* Refused: nobody listens there, so that only the caller's side is measured. */
static void connect_refused(int port)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(port) };
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	if (fd < 0)
		fail("socket");
	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (!connect(fd, (struct sockaddr *)&to, sizeof(to)))
		fail("connected");
	close(fd);
}

/* A datagram socket only notes the address: nothing is sent. */
static void udp_connect(int fd, int port)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(port) };
	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (connect(fd, (struct sockaddr *)&to, sizeof(to)))
		fail("connect");
}

int main(int argc, char **argv)
{
	const char *operation = argc > 2 ? argv[1] : "";
	long count = argc > 2 ? atol(argv[2]) : 0;
	const char *argument = argc > 3 ? argv[3] : "";
	struct timespec began, ended;
	char byte;
	int zero = open("/dev/zero", O_RDONLY);
	int udp = socket(AF_INET, SOCK_DGRAM, 0), sender = socket(AF_INET, SOCK_DGRAM, 0);
	udp_connect(sender, 9);
	clock_gettime(CLOCK_MONOTONIC, &began);
	for (long i = 0; i < count; i++) {
		if (!strcmp(operation, "getppid"))
			syscall(SYS_getppid);
		else if (!strcmp(operation, "read"))
			read(zero, &byte, 1);
		else if (!strcmp(operation, "open-read"))
			open_close(argument, O_RDONLY);
		else if (!strcmp(operation, "open-write"))
			open_close(argument, O_WRONLY | O_CREAT);
		else if (!strcmp(operation, "exec"))
			start();
		else if (!strcmp(operation, "connect"))
			connect_refused(1);
		else if (!strcmp(operation, "name"))
			prctl(PR_SET_NAME, "storm");
		else if (!strcmp(operation, "udp-connect"))
			udp_connect(udp, 9);
		else if (!strcmp(operation, "udp-send"))
			send(sender, &byte, 1, 0); /* every second one only says that nobody listens */
		else
			fail("usage: storm OPERATION COUNT [ARGUMENT]");
	}
	clock_gettime(CLOCK_MONOTONIC, &ended);
	printf("%.1f\n", ((ended.tv_sec - began.tv_sec) * 1e9 + (ended.tv_nsec - began.tv_nsec)) / count);
	return 0;
}
