// What is known of the build.

#ifndef REDPOOL_BUILD_H
#define REDPOOL_BUILD_H

/// The commit that a package was built from; empty in other builds.
const char *redpool_commit(void);

#endif
