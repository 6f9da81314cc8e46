// The commit is not known to the compiler: each commit would build and link again. It has a section of
// its own, into which scripts/package-deb writes it.

#include "build.h"

// Volatile: what the compiler sees here is not what the program finds.
__attribute__((section(".redpool.commit"), used))
static const volatile char commit[64] = "";

const char *redpool_commit(void) { return (const char *)commit; }
