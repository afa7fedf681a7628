/* Tests of the shim without JavaScript: `make check` runs them under sanitizers. */
#include "check.h"

int checks, failures;

int main(int argc, char **argv)
{
	if (argc != 2)
		return 2;
	/* First: its handler has to be there before those of the shim. */
	check_guard();
	check_operations();
	check_loops();
	check_validation();
	check_parallel();
	check_watcher();
	check_actor(argv[1]);
	printf("%d checks, %d failures\n", checks, failures);
	return failures != 0;
}
