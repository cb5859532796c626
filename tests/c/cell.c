/* One cell of the matrix: run a host, and see what is left of its server.
 *
 *   cell MARK PATIENCE_MS HOST ARGUMENTS...
 *
 * A child subreaper: whatever escapes its parents, and the guard itself, ends
 * up as a child of this process, whether it carries the mark or not. So ECHILD
 * is the proof that nothing is left, and the marks say what was.
 *
 * The host has two pipes. On number 3 it reports lines:
 *   event NS       it happens now (CLOCK_MONOTONIC), or a moment later
 *   signal N       send it that signal; that is the event
 *   mortal         the host itself must end, too
 *   companion PID  not to be counted; ends when number 4 does
 *   note TEXT      passed on
 *   late TEXT      something took longer than is promised
 *   bad TEXT       a failure
 * Number 4 ends when everything has been looked at.
 *
 * Whoever is still there PATIENCE_MS after the event has survived. Prints what
 * the host had to say, the survivors, and at last
 * `ms=12.3 survivors=0 zombies=0 escaped=0 late=0 bad=0`.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { PREPARATION = 60000, ENDING = 5000, COMPANIONS = 16 };

static const char *mark;
static pid_t host;
static int host_status = -1;
static pid_t companions[COMPANIONS];
static size_t companion_count;
static int64_t event;
static int failures, delays;

static int64_t now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static size_t slurp(const char *path, char *buffer, size_t size) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  size_t length = 0;
  if (fd >= 0) {
    ssize_t n;
    while (length < size - 1 && (n = read(fd, buffer + length, size - 1 - length)) > 0)
      length += (size_t)n;
    close(fd);
  }
  buffer[length] = 0;
  return length;
}

static int is_companion(pid_t pid) {
  for (size_t i = 0; i < companion_count; i++)
    if (companions[i] == pid) return 1;
  return pid == getpid();
}

/* Whether `pid` carries the mark. A zombie does not: it has no memory. */
static int is_marked(pid_t pid) {
  static char environment[1 << 17];
  char path[64];
  size_t length;
  snprintf(path, sizeof path, "/proc/%d/environ", (int)pid);
  length = slurp(path, environment, sizeof environment);
  return memmem(environment, length, mark, strlen(mark)) != NULL;
}

/* Parent and state of `pid`; 0 when there is no such process. */
static pid_t parent(pid_t pid, char *state) {
  char path[64], text[512];
  int ppid = 0;
  const char *end;
  snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
  slurp(path, text, sizeof text);
  end = strrchr(text, ')');
  if (!end || sscanf(end + 1, " %c %d", state, &ppid) != 2) return 0;
  return ppid;
}

typedef void visitor(pid_t pid, int *count);

static int visit(visitor *each) {
  DIR *proc = opendir("/proc");
  struct dirent *entry;
  int count = 0;
  while (proc && (entry = readdir(proc))) {
    pid_t pid = (pid_t)atoi(entry->d_name);
    if (pid > 0) each(pid, &count);
  }
  if (proc) closedir(proc);
  return count;
}

static int is_survivor(pid_t pid) {
  char state = 0;
  pid_t ppid;
  if (is_companion(pid)) return 0;
  if (is_marked(pid)) return 1;
  ppid = parent(pid, &state);
  return ppid == getpid() && state != 'Z';
}

static void count_survivor(pid_t pid, int *count) { *count += is_survivor(pid); }

static void name_survivor(pid_t pid, int *count) {
  char path[64], text[512];
  size_t length;
  char state = '?';
  if (!is_survivor(pid)) return;
  ++*count;
  snprintf(path, sizeof path, "/proc/%d/cmdline", (int)pid);
  length = slurp(path, text, sizeof text);
  for (size_t i = 0; i + 1 < length; i++)
    if (!text[i]) text[i] = ' ';
  pid_t ppid = parent(pid, &state);
  char sched[128];
  snprintf(path, sizeof path, "/proc/%d/schedstat", (int)pid);
  slurp(path, sched, sizeof sched);
  if (*count <= 8)
    printf("survivor %d %c parent %d: %.100s [ran, waited, times: %s]\n", pid, state, ppid, text,
           strtok(sched, "\n"));
}

static void kill_survivor(pid_t pid, int *count) {
  if (!is_survivor(pid)) return;
  ++*count;
  kill(pid, SIGKILL);
}

static void count_zombie(pid_t pid, int *count) {
  char state = 0;
  pid_t ppid = parent(pid, &state);
  if (state == 'Z' && ppid != getpid() && is_companion(ppid)) ++*count;
}

/* Reap what has ended. 0 when there is no child any more. */
static int reap(void) {
  for (;;) {
    int status;
    pid_t pid = waitpid(-1, &status, WNOHANG | __WALL);
    if (pid == 0) return 1;
    if (pid < 0) return errno != ECHILD;
    if (pid == host) host_status = status;
    for (size_t i = 0; i < companion_count; i++)
      if (companions[i] == pid) companions[i] = -1;
  }
}

/* Whether the kernel says that every child of ours is a companion. */
static int only_companions(void) {
  static char text[1 << 16];
  char path[64], *at = text, *end;
  snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
  slurp(path, text, sizeof text);
  for (;;) {
    long pid = strtol(at, &end, 10);
    if (end == at) return 1;
    if (!is_companion((pid_t)pid)) return 0;
    at = end;
  }
}

static void hear(char *line) {
  long number = strtol(strchr(line, ' ') ? strchr(line, ' ') : line, NULL, 10);
  if (!strncmp(line, "event ", 6)) {
    event = strtoll(line + 6, NULL, 10);
  } else if (!strncmp(line, "signal ", 7)) {
    event = now();
    kill(host, (int)number);
  } else if (!strcmp(line, "mortal")) {
    companions[0] = -1;
  } else if (!strncmp(line, "companion ", 10)) {
    if (companion_count < COMPANIONS) companions[companion_count++] = (pid_t)number;
  } else {
    failures += !strncmp(line, "bad ", 4);
    delays += !strncmp(line, "late ", 5);
    printf("%s\n", line);
  }
}

static void hear_all(int fd) {
  static char line[1024];
  static size_t length;
  char byte;
  while (read(fd, &byte, 1) == 1) {
    if (byte != '\n') {
      if (length + 1 < sizeof line) line[length++] = byte;
      continue;
    }
    line[length] = 0;
    length = 0;
    hear(line);
  }
}

/* Sleep until a child has ended or the host has said something. */
static void wait_for_something(int signals, int report) {
  static char drained[4096];
  struct pollfd set[2];
  set[0].fd = signals;
  set[1].fd = report;
  set[0].events = set[1].events = POLLIN;
  poll(set, 2, 5);
  /* The host's end makes the pipe readable for ever. */
  if (set[1].revents & POLLHUP && !(set[1].revents & POLLIN)) poll(set, 1, 5);
  while (read(signals, drained, sizeof drained) > 0) {
  }
  hear_all(report);
}

static void become_host(char **argv, int report, int control, const sigset_t *mask) {
  int high_report = fcntl(report, F_DUPFD_CLOEXEC, 10);
  int high_control = fcntl(control, F_DUPFD_CLOEXEC, 10);
  struct rlimit none = {0, 0};
  setrlimit(RLIMIT_CORE, &none);
  dup2(high_report, 3);
  dup2(high_control, 4);
  sigprocmask(SIG_SETMASK, mask, NULL);
  execv(argv[0], argv);
  _exit(127);
}

int main(int argc, char **argv) {
  int report[2], control[2], signals, clean = 0, escaped, zombies, survivors = 0;
  int64_t patience, until, ended = 0;
  sigset_t child, before;
  if (argc < 4) return 64;
  mark = argv[1];
  patience = atoll(argv[2]) * 1000000;
  setvbuf(stdout, NULL, _IOFBF, 1 << 16);
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  sigemptyset(&child);
  sigaddset(&child, SIGCHLD);
  sigprocmask(SIG_BLOCK, &child, &before);
  signals = signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
  if (signals < 0 || pipe2(report, O_CLOEXEC) < 0 || pipe2(control, O_CLOEXEC) < 0) return 71;
  fcntl(report[0], F_SETFL, O_NONBLOCK);

  host = fork();
  if (host < 0) return 70;
  if (host == 0) become_host(argv + 3, report[1], control[0], &before);
  companions[companion_count++] = host;
  close(report[1]);
  close(control[0]);

  until = now() + (int64_t)PREPARATION * 1000000;
  while (!event && now() < until) {
    int some = reap();
    wait_for_something(signals, report[0]);
    if (!some && !event) break;
  }
  if (!event) {
    printf("bad there was no event\n");
    failures++;
    event = now();
  }

  until = event + patience;
  while (!clean && now() < until) {
    int some = reap();
    int64_t seen = now();
    if (!some || only_companions()) {
      /* A guard that has just ended is a zombie until the host reaps it. */
      clean = visit(count_survivor) == 0 && visit(count_zombie) == 0;
      ended = seen;
    }
    if (!clean) wait_for_something(signals, report[0]);
  }
  if (!clean) {
    ended = now();
    survivors = visit(name_survivor);
  }
  zombies = visit(count_zombie);

  close(control[1]);
  until = now() + (int64_t)ENDING * 1000000;
  while ((escaped = reap()) && now() < until) wait_for_something(signals, report[0]);
  hear_all(report[0]);
  if (escaped && clean) survivors = visit(name_survivor);
  for (int i = 0; i < 1000 && reap(); i++) {
    visit(kill_survivor);
    kill(host, SIGKILL);
    wait_for_something(signals, report[0]);
  }
  for (int i = 0; i < 1000 && visit(kill_survivor) > 0; i++) {
    reap();
    wait_for_something(signals, report[0]);
  }
  if (WIFSIGNALED(host_status)) printf("note host: signal %d\n", WTERMSIG(host_status));
  printf("ms=%.1f survivors=%d zombies=%d escaped=%d late=%d bad=%d\n",
         (double)(ended - event) / 1e6, survivors, zombies, escaped && clean, delays, failures);
  fflush(stdout);
  return 0;
}
