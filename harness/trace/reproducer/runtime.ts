/** The C that every reproducer brings along: only those parts that it uses. */

interface Part {
  needs?: readonly PartName[];
  includes?: readonly string[];
  code: string;
}

export type PartName =
  | 'call'
  | 'put'
  | 'fdAt'
  | 'guard'
  | 'load'
  | 'store'
  | 'copy'
  | 'pattern'
  | 'fill'
  | 'verify'
  | 'now'
  | 'wait'
  | 'spin'
  | 'poll'
  | 'align'
  | 'failure'
  | 'threads'
  | 'report'
  | 'reportLoad'
  | 'sameBytes'
  | 'actors';

/** In an order in which each finds what it needs above it. */
const PARTS: Readonly<Record<PartName, Part>> = {
  call: {
    includes: ['sys/syscall.h', 'unistd.h'],
    code: `
static void call(int n, long number, unsigned long a, unsigned long b, unsigned long c,
		 unsigned long d, unsigned long e, unsigned long f)
{
	long result = syscall(number, a, b, c, d, e, f);

	s->r[n] = result == -1 ? -errno : result;
}`,
  },
  put: {
    code: `
static void put(void *where, unsigned long long value, size_t size)
{
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
	value <<= 64 - 8 * size;
#endif
	memcpy(where, &value, size);
}`,
  },
  fdAt: {
    code: `
static int fd_at(const void *where)
{
	int fd;

	memcpy(&fd, where, sizeof fd);
	return fd;
}`,
  },
  guard: {
    includes: ['setjmp.h', 'signal.h'],
    code: `
/* An access that faults gives -EFAULT (SIGSEGV) or -EIO (SIGBUS). */
static __thread sigjmp_buf fault;
static __thread volatile int guarded;

/* Keeps the compiler from judging addresses that are wrong on purpose. */
#define HIDE(address) __asm__("" : "+r"(address))

static void on_fault(int number)
{
	if (guarded)
		siglongjmp(fault, number == SIGBUS ? EIO : EFAULT);
	signal(number, SIG_DFL);
}

static void catch_faults(void)
{
	struct sigaction action;

	memset(&action, 0, sizeof action);
	action.sa_handler = on_fault;
	action.sa_flags = SA_NODEFER;
	sigaction(SIGSEGV, &action, NULL);
	sigaction(SIGBUS, &action, NULL);
}

#define GUARDED(n, access) \\
	do { \\
		int error = sigsetjmp(fault, 1); \\
		if (!error) { \\
			guarded = 1; \\
			s->r[n] = (access); \\
		} else { \\
			s->r[n] = -error; \\
		} \\
		guarded = 0; \\
	} while (0)`,
  },
  load: {
    needs: ['guard'],
    code: `
static long long load(unsigned long where, int width, unsigned long long *value)
{
	HIDE(where);
	switch (width) {
	case 8: *value = *(volatile unsigned char *)where; return 0;
	case 16: *value = *(volatile unsigned short *)where; return 0;
	case 32: *value = *(volatile unsigned int *)where; return 0;
	case 64: *value = *(volatile unsigned long long *)where; return 0;
	default: return -EINVAL;
	}
}`,
  },
  store: {
    needs: ['guard'],
    code: `
static long long store(unsigned long where, int width, unsigned long long value)
{
	HIDE(where);
	switch (width) {
	case 8: *(volatile unsigned char *)where = (unsigned char)value; return 0;
	case 16: *(volatile unsigned short *)where = (unsigned short)value; return 0;
	case 32: *(volatile unsigned int *)where = (unsigned int)value; return 0;
	case 64: *(volatile unsigned long long *)where = value; return 0;
	default: return -EINVAL;
	}
}`,
  },
  copy: {
    needs: ['guard'],
    code: `
static long long copy(unsigned long to, unsigned long from, unsigned long length)
{
	unsigned long i = 0;

	HIDE(to);
	HIDE(from);
	if (((to | from) & 7) == 0) {
		for (; i + 8 <= length; i += 8)
			*(volatile unsigned long long *)(to + i) =
				*(volatile unsigned long long *)(from + i);
	}
	for (; i < length; i++)
		*(volatile unsigned char *)(to + i) = *(volatile unsigned char *)(from + i);
	return 0;
}`,
  },
  pattern: {
    code: `
/* Byte \`position\` of the pattern of a seed (SplitMix64). */
static unsigned char pattern(unsigned long long seed, unsigned long long position)
{
	unsigned long long word = seed + ((position >> 3) + 1) * 0x9e3779b97f4a7c15ULL;

	word = (word ^ (word >> 30)) * 0xbf58476d1ce4e5b9ULL;
	word = (word ^ (word >> 27)) * 0x94d049bb133111ebULL;
	word ^= word >> 31;
	return (unsigned char)(word >> (8 * (position & 7)));
}`,
  },
  fill: {
    needs: ['guard', 'pattern'],
    code: `
static long long fill(unsigned long where, unsigned long length, unsigned long long seed,
		      unsigned long long phase)
{
	HIDE(where);
	for (unsigned long i = 0; i < length; i++)
		*(volatile unsigned char *)(where + i) = pattern(seed, phase + i);
	return 0;
}`,
  },
  verify: {
    needs: ['guard', 'pattern'],
    code: `
/* 0, or 1 + the offset of the first byte that differs */
static long long verify(unsigned long where, unsigned long length, unsigned long long seed,
			unsigned long long phase)
{
	HIDE(where);
	for (unsigned long i = 0; i < length; i++) {
		if (*(volatile unsigned char *)(where + i) != pattern(seed, phase + i))
			return (long long)i + 1;
	}
	return 0;
}`,
  },
  now: {
    includes: ['time.h'],
    code: `
static long long now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1000000000LL + time.tv_nsec;
}`,
  },
  wait: {
    needs: ['load', 'now'],
    code: `
static long long wait_for(unsigned long where, int width, unsigned long long mask,
			  unsigned long long value, long long timeout, unsigned long long *seen)
{
	const long long end = now() + timeout;

	for (;;) {
		long long result = load(where, width, seen);

		if (result < 0 || (*seen & mask) == value)
			return result;
		if (now() > end)
			return -ETIMEDOUT;
	}
}`,
  },
  spin: {
    needs: ['now'],
    code: `
static long long spin(long long duration)
{
	const long long end = now() + duration;

	while (now() < end)
		;
	return 0;
}`,
  },
  poll: {
    includes: ['poll.h'],
    code: `
static long long poll_fds(unsigned long fds, unsigned long count, int milliseconds)
{
	int result = poll((struct pollfd *)fds, count, milliseconds);

	return result < 0 ? -errno : result;
}`,
  },
  align: {
    code: `
static long long align(long long value, unsigned long alignment)
{
	return value < 0 ? value : (long long)(((unsigned long)value + alignment - 1) & -alignment);
}`,
  },
  failure: {
    code: `
static long long first_failure(int first, int end)
{
	for (int n = first; n < end; n++) {
		if (s->r[n] < 0)
			return s->r[n];
	}
	return 0;
}`,
  },
  threads: {
    includes: ['pthread.h'],
    code: `
static pthread_barrier_t start;

static void run_threads(void *(*const bodies[])(void *), int count)
{
	pthread_t threads[count];

	pthread_barrier_init(&start, NULL, (unsigned int)count);
	for (int i = 0; i < count; i++) {
		if (pthread_create(&threads[i], NULL, bodies[i], NULL)) {
			fprintf(stderr, "cannot create a thread\\n");
			exit(2);
		}
	}
	for (int i = 0; i < count; i++)
		pthread_join(threads[i], NULL);
	pthread_barrier_destroy(&start);
}`,
  },
  report: {
    code: `
/* Names a call before its answer is known: whoever watches sees what the kernel died of. */
static void name(int n, const char *text)
{
	printf("[%d] %s", n, text);
	fflush(stdout);
}

/* Whether the answer is as recorded. \`opened\`: the number of an fd, address or process may differ. */
static int report(int n, int opened, long long recorded)
{
	const long long result = s->r[n];
	const int same = opened && recorded >= 0 ? result >= 0 : result == recorded;

	printf(" = %lld", result);
	if (result < 0)
		printf(" (%s)", result == NOT_REACHED ? "not reached" : strerror((int)-result));
	if (same)
		printf(", as recorded\\n");
	else if (recorded < 0)
		printf(", recorded: %lld (%s)\\n", recorded,
		       recorded == NOT_REACHED ? "never ended" : strerror((int)-recorded));
	else
		printf(", recorded: %lld\\n", recorded);
	fflush(stdout);
	return same;
}`,
  },
  reportLoad: {
    needs: ['report'],
    code: `
static int report_load(int n, long long recorded, unsigned long long value)
{
	int same = report(n, 0, recorded);

	if (recorded < 0 || s->r[n] < 0)
		return same;
	printf("     value %#llx, recorded: %#llx\\n", s->v[n], value);
	return same && s->v[n] == value;
}`,
  },
  sameBytes: {
    code: `
static int same_bytes(const void *now, const void *recorded, size_t length)
{
	const unsigned char *a = now, *b = recorded;
	int same = 1;

	for (size_t i = 0; i < length; i++) {
		if (a[i] != b[i]) {
			printf("     byte %zu is %#x, recorded: %#x\\n", i, a[i], b[i]);
			same = 0;
		}
	}
	return same;
}`,
  },
  actors: {
    includes: ['sys/socket.h', 'fcntl.h', 'dirent.h'],
    code: `
/* A process of its own: this program executed anew, with only the fds that it uses. */
struct actor {
	pid_t pid;
	int socket;
};

static struct actor actors[ACTORS];

static void close_all_but(const int *keep, int count)
{
	DIR *folder = opendir("/proc/self/fd");
	struct dirent *entry;

	while (folder && (entry = readdir(folder))) {
		int fd = atoi(entry->d_name), kept = fd <= 2 || fd == dirfd(folder);

		for (int i = 0; i < count; i++)
			kept |= fd == keep[i];
		if (!kept)
			close(fd);
	}
	if (folder)
		closedir(folder);
	for (int i = 0; i < count; i++) {
		if (keep[i] >= 0)
			fcntl(keep[i], F_SETFD, 0);
	}
}

static void actor_spawn(int number, int *keep, int count)
{
	int pair[2];
	char channel[16], state[16];
	char *arguments[] = { "actor", channel, state, NULL };

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		exit(2);
	actors[number].socket = pair[0];
	actors[number].pid = fork();
	if (actors[number].pid == 0) {
		keep[count] = pair[1];
		keep[count + 1] = state_fd;
		close_all_but(keep, count + 2);
		snprintf(channel, sizeof channel, "%d", pair[1]);
		snprintf(state, sizeof state, "%d", state_fd);
		execv("/proc/self/exe", arguments);
		_exit(127);
	}
	close(pair[1]);
}

static void actor_start(int number, int run)
{
	if (send(actors[number].socket, &run, sizeof run, MSG_NOSIGNAL) < 0)
		printf("process %d is gone\\n", number);
}

static void actor_join(int number)
{
	int run;

	if (read(actors[number].socket, &run, sizeof run) != sizeof run)
		printf("process %d died\\n", number);
}

static void actor_loop(int channel)
{
	int run;

	while (read(channel, &run, sizeof run) == sizeof run) {
		actor_runs[run]();
		if (write(channel, &run, sizeof run) < 0)
			break;
	}
}`,
  },
};

/** The parts, those they need included, in order; and the headers they want. */
export function partsFor(used: ReadonlySet<PartName>): { code: string[]; includes: string[] } {
  const wanted = new Set<PartName>();
  const add = (name: PartName) => {
    wanted.add(name);
    PARTS[name].needs?.forEach(add);
  };
  used.forEach(add);
  const names = (Object.keys(PARTS) as PartName[]).filter((name) => wanted.has(name));
  return {
    code: names.map((name) => PARTS[name].code),
    includes: names.flatMap((name) => PARTS[name].includes ?? []),
  };
}

export function needsGuard(used: ReadonlySet<PartName>): boolean {
  return ['load', 'store', 'copy', 'fill', 'verify', 'wait'].some((name) =>
    used.has(name as PartName),
  );
}
