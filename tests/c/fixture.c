/* Servers that misbehave in ways that a shell cannot: `fixture MODE`.
 *
 * Each says `ready` when everything it wants to leave behind is there. Links
 * with nothing of ours. Should a test fail to end them, they end by themselves.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { LIFETIME = 60 };

static time_t now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec;
}

static void say(const char *text) {
  if (write(1, text, strlen(text)) < 0) _exit(1);
}

static void ready(void) { say("{\"jsonrpc\":\"2.0\",\"method\":\"ready\"}\n"); }

static void ignore_signals(void) {
  signal(SIGTERM, SIG_IGN);
  signal(SIGINT, SIG_IGN);
  signal(SIGHUP, SIG_IGN);
}

static void forever(void) {
  for (;;) pause();
}

/* fork, with an end of its own for the child: alarms are not inherited. */
static pid_t split(void) {
  pid_t pid = fork();
  if (pid < 0) _exit(70);
  if (pid == 0) alarm(LIFETIME);
  return pid;
}

static void answer(const char *line) {
  const char *id = strstr(line, "\"id\":");
  char reply[128];
  if (strstr(line, "\"method\":\"crash\"")) _exit(3);
  if (!id) return;
  snprintf(reply, sizeof reply, "{\"jsonrpc\":\"2.0\",\"id\":%ld,\"result\":null}\n",
           strtol(id + 5, NULL, 10));
  say(reply);
}

/* Answer every request until end-of-file. */
static void serve(void) {
  static char line[256];
  static char buffer[65536];
  size_t length = 0;
  for (;;) {
    ssize_t n = read(0, buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return;
    for (ssize_t i = 0; i < n; i++) {
      if (buffer[i] == '\n') {
        line[length] = 0;
        answer(line);
        length = 0;
      } else if (length + 1 < sizeof line) {
        line[length++] = buffer[i];
      }
    }
  }
}

/* Wait until everybody else has closed the other end of the pipe. */
static void wait_for_end(int fd) {
  char byte;
  while (read(fd, &byte, 1) != 0) {
  }
}

static void flood(void) {
  static char noise[4096];
  static char messages[4096];
  const char *one = "{\"jsonrpc\":\"2.0\",\"method\":\"flood\"}\n";
  memset(noise, 'x', sizeof noise);
  for (size_t i = 99; i < sizeof noise; i += 100) noise[i] = '\n';
  while (strlen(messages) + strlen(one) < sizeof messages) strcat(messages, one);
  ready();
  if (split() == 0)
    while (write(2, noise, sizeof noise) > 0) {
    }
  for (;;) say(messages);
}

/* A process in a session of its own, whose parent has ended. With `clear` it
 * has no environment either. */
static void daemonise(int clear) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) < 0) _exit(71);
  if (split() == 0) {
    setsid();
    if (split() == 0) {
      char *argv[] = {(char *)"fixture", (char *)"remain", NULL};
      char *none[] = {NULL};
      ignore_signals();
      close(0);
      close(1);
      close(2);
      if (clear) execve("/proc/self/exe", argv, none);
      close(ends[0]);
      close(ends[1]);
      forever();
    }
    _exit(0);
  }
  wait(NULL);
  close(ends[1]);
  wait_for_end(ends[0]);
}

/* `count` processes below this one, in a tree. */
static void grow(int count, int told) {
  for (int branches = 4; branches > 0 && count > 0; branches--) {
    int here = (count + branches - 1) / branches;
    if (split() == 0) {
      if (count % 2) ignore_signals();
      if (count % 3 == 0) setsid();
      grow(here - 1, told);
      if (write(told, "", 1) != 1) _exit(72);
      forever();
    }
    count -= here;
  }
}

static void tree(int count) {
  int ends[2];
  char byte;
  if (pipe(ends) < 0) _exit(71);
  grow(count - 1, ends[1]);
  for (int i = 0; i < count - 1; i++)
    if (read(ends[0], &byte, 1) != 1) _exit(73);
}

/* Three workers, replaced when they end; one of them replaces the boss. */
static void reign(time_t until) {
  int life[2];
  int workers = 0;
  int is_first = 1;
  pid_t heir = 0;
  ignore_signals();
  if (pipe(life) < 0) _exit(71);
  while (now() < until) {
    int inherits = heir == 0;
    pid_t pid = split();
    if (pid == 0) {
      close(life[1]);
      if (!inherits) forever();
      wait_for_end(life[0]);
      setsid();
      if (pipe(life) < 0) _exit(71);
      workers = heir = is_first = 0;
      continue;
    }
    if (inherits) heir = pid;
    if (++workers < 3) continue;
    if (is_first) ready();
    is_first = 0;
    if (wait(NULL) == heir) heir = 0;
    workers--;
  }
  _exit(0);
}

/* Always gone when somebody looks: fork, setsid, exit. */
static void run_away(time_t until) {
  signal(SIGCHLD, SIG_IGN);
  while (now() < until) {
    pid_t pid = fork();
    if (pid > 0) _exit(0);
    setsid();
  }
  _exit(0);
}

int main(int argc, char **argv) {
  const char *mode = argc > 1 ? argv[1] : "";
  int ends[2];
  alarm(LIFETIME);
  if (!strcmp(mode, "serve")) {
    ready();
  } else if (!strcmp(mode, "stubborn")) {
    ignore_signals();
    ready();
    forever();
  } else if (!strcmp(mode, "remain")) {
    ignore_signals();
    forever();
  } else if (!strcmp(mode, "deaf")) {
    ready();
    forever();
  } else if (!strcmp(mode, "stopped")) {
    ready();
    raise(SIGSTOP);
  } else if (!strcmp(mode, "flood")) {
    flood();
  } else if (!strcmp(mode, "daemon")) {
    daemonise(0);
    ready();
  } else if (!strcmp(mode, "nameless")) {
    daemonise(1);
    ready();
  } else if (!strcmp(mode, "leave")) {
    if (pipe(ends) < 0) return 71;
    if (split() > 0) return 0;
    close(ends[1]);
    wait_for_end(ends[0]);
    ready();
  } else if (!strcmp(mode, "crash")) {
    if (split() == 0) {
      ignore_signals();
      forever();
    }
    ready();
  } else if (!strcmp(mode, "respawn")) {
    reign(now() + LIFETIME);
  } else if (!strcmp(mode, "run-away")) {
    if (split() == 0) run_away(now() + LIFETIME);
    ready();
  } else if (!strcmp(mode, "tree")) {
    tree(argc > 2 ? atoi(argv[2]) : 1);
    ready();
  } else if (!strcmp(mode, "subreaper")) {
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    daemonise(0);
    ready();
  } else if (!strcmp(mode, "undying")) {
    prctl(PR_SET_PDEATHSIG, 0);
    ignore_signals();
    ready();
    forever();
  } else {
    return 64;
  }
  serve();
  return 0;
}
