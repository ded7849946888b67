/* SPDX-License-Identifier: MIT */
/*
 * See user.h. Over the socket go first the plan, then the answer to it, then frames. When our end is
 * closed the process ends by itself, having passed on what it had been sent; it is not waited for
 * for long.
 */
#include "net/user.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "net/confine.h"
#include "net/slirp.h"
#include "net/socket.h"

#if HAVE_SLIRP
#define LAST_WORDS_MS 1000

struct answer {
	int errnum; /* 0: it works */
	struct error error;
};

struct user {
	struct net net; /* must be first */
	struct net *socket;
	pid_t process;
};

extern char **environ;

/* ---- our side ---- */

static int user_send(struct net *net, unsigned queue, const struct iovec *iov, unsigned count)
{
	return net_send(((struct user *)net)->socket, queue, iov, count);
}

static ssize_t user_receive(struct net *net, unsigned queue, void *frame, size_t size)
{
	return net_receive(((struct user *)net)->socket, queue, frame, size);
}

static void end_process(pid_t process)
{
	struct pollfd end = { .fd = (int)syscall(SYS_pidfd_open, process, 0), .events = POLLIN };

	if (end.fd < 0 || poll(&end, 1, LAST_WORDS_MS) <= 0)
		kill(process, SIGKILL);
	if (end.fd >= 0)
		close(end.fd);
	while (waitpid(process, NULL, 0) < 0 && errno == EINTR)
		;
}

static void user_close(struct net *net)
{
	struct user *user = (struct user *)net;

	if (user->socket)
		net_close(user->socket);
	if (user->process > 0)
		end_process(user->process);
	free(user);
}

static const struct net_class user_class = {
	.send = user_send,
	.receive = user_receive,
	.close = user_close,
};

/* The process gets socket as its standard input, and of our descriptors only standard error. */
static int spawn(int socket, pid_t *process, struct error *err)
{
	char *const argv[] = { (char *)"ringlet", (char *)NET_USER_COMMAND, NULL };
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	int ret;

	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, socket, STDIN_FILENO);
	posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
	posix_spawn_file_actions_addclosefrom_np(&actions, STDERR_FILENO + 1);
	posix_spawnattr_init(&attr);
	/* A Ctrl-C is for the machine. */
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSID);
	ret = posix_spawn(process, "/proc/self/exe", &actions, &attr, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	posix_spawnattr_destroy(&attr);
	if (ret)
		return error_set_errno(err, ret, "cannot start user-mode networking");
	return 0;
}

static int agree(int socket, const struct net_user_plan *plan, struct error *err)
{
	struct pollfd ready = { .fd = socket, .events = POLLIN };
	struct answer answer;

	if (send(socket, plan, sizeof(*plan), MSG_NOSIGNAL) != sizeof(*plan) ||
	    poll(&ready, 1, -1) < 0 ||
	    recv(socket, &answer, sizeof(answer), 0) != sizeof(answer))
		return error_set(err, EIO, "user-mode networking does not start");
	if (!answer.errnum)
		return 0;
	answer.error.message[sizeof(answer.error.message) - 1] = 0;
	return error_set(err, answer.errnum, "%s", answer.error.message);
}

int net_user_open(const struct net_user_plan *plan, struct net **net, struct error *err)
{
	const struct net_info info = { .queues = 1, .to_guest = NET_CSUM, .mtu = plan->mtu };
	struct user *user = calloc(1, sizeof(*user));
	int ends[2], ret;

	if (!user)
		return error_set(err, ENOMEM, "no memory for user-mode networking");
	user->net = (struct net){ .class = &user_class, .kind = "user", .info = info };
	ret = net_socket_pair(ends, err);
	if (ret) {
		free(user);
		return ret;
	}
	ret = spawn(ends[1], &user->process, err);
	close(ends[1]);
	if (!ret)
		ret = agree(ends[0], plan, err);
	if (ret)
		close(ends[0]);
	else
		ret = net_socket_open("user", ends[0], &info, &user->socket, err);
	user->net.fd[0] = ends[0];
	if (ret) {
		user_close(&user->net);
		return ret;
	}
	*net = &user->net;
	return 0;
}

/* ---- the process ---- */

static bool take_plan(int socket, struct net_user_plan *plan)
{
	struct pollfd ready = { .fd = socket, .events = POLLIN };

	return poll(&ready, 1, -1) > 0 && recv(socket, plan, sizeof(*plan), 0) == sizeof(*plan) &&
	       plan->forward_count <= NET_USER_FORWARDS_MAX;
}

int net_user_serve(int socket)
{
	struct answer answer = { 0 };
	struct net_user_plan plan;
	struct slirp *slirp;

	if (!take_plan(socket, &plan))
		return 1;
	answer.errnum = -slirp_open(&plan, socket, &slirp, &answer.error);
	if (!answer.errnum)
		answer.errnum = -net_user_confine(&answer.error);
	if (send(socket, &answer, sizeof(answer), MSG_NOSIGNAL) < 0 || answer.errnum)
		return 1;
	slirp_run(slirp);
	slirp_close(slirp);
	return 0;
}

#else

int net_user_open(const struct net_user_plan *plan, struct net **net, struct error *err)
{
	(void)plan, (void)net;
	return error_set(err, ENOTSUP, "this build has no user-mode networking: libslirp was "
			 "missing");
}

int net_user_serve(int socket)
{
	(void)socket;
	return 1;
}
#endif
