// Execution in place: another program takes over the process, with its descriptors. See
// Sources/EventLoop/Program.swift.

#ifndef REDPOOL_EXEC_H
#define REDPOOL_EXEC_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/// An empty file in memory that other programs can be given. It can neither grow nor shrink once it
/// is sealed. -errno if there is none.
int redpool_memory_file(void);

/// Forbids every change of the file's size. 0 or -errno.
int redpool_seal_size(int fd);

/// Whether the descriptor stays open when another program is executed. 0 or -errno.
int redpool_set_inherited(int fd, bool is_inherited);

/// Closes every descriptor above the standard ones when another program is executed. 0 or -errno.
int redpool_inherit_nothing(void);

/// Called at the start: the program that is being executed is at this path.
void redpool_note_program(const char *path);

/// A descriptor of the program that is being executed, by which it can be executed again; it need
/// not have a name any more. -errno if there is none.
int redpool_own_program(void);

/// Keeps SIGTERM, SIGINT, SIGQUIT and SIGHUP waiting, also while another program is executed; or
/// lets all signals come. For the main thread.
void redpool_hold_signals(bool are_held);

/// Executes a program in place of this one. Returns only if that fails: -errno. The other threads
/// then go on.
int redpool_execute(const char *path, char *const arguments[], char *const environment[]);

/// Starts a program that finds `file` as its descriptor 3 and nothing else but the standard ones;
/// what it writes to standard output and error can be read from `*answers`. Returns its process id,
/// or -errno.
pid_t redpool_start(const char *path, char *const arguments[], char *const environment[], int file,
                    int *answers);

/// Waits for the end of a process that is ending. Returns its exit code, or the number of the signal
/// that has ended it plus 256.
int redpool_reap(pid_t process);

/// From now on a trap of this program, a signal that says that it is broken, or `seconds` without
/// `redpool_stay` executes the program that `former` refers to, with these arguments and this
/// environment, which stay in memory. Two digits at `mark` in it become the number of the signal.
/// 0 or -errno.
int redpool_guard(int former, char *const arguments[], char *const environment[], char *mark,
                  unsigned seconds);

/// Executes the former program, as a trap would. Returns only if that fails; never if another thread
/// has begun with it.
void redpool_go_back(int number);

/// Called by each thread but the main one when it begins: until `redpool_stay` an overflow of its
/// stack is a trap as well.
void redpool_guard_thread(void);

/// Whether a thread is executing the former program.
bool redpool_is_going_back(void);

/// A trap ends the process from now on.
void redpool_stay(void);

/// Ends the alarm that an earlier program may have set. These signals wait until
/// `redpool_hold_signals` lets them come.
void redpool_begin_anew(void);

/// Takes `file,former` or `file,former,failure` out of the environment: two descriptors and the
/// number of a signal. False if there is no such variable, or something else in it.
bool redpool_take_order(const char *name, int *file, int *former, int *failure);

/// The environment of the process, as `environ`.
char *const *redpool_environment(void);

/// Overwrites the whole file with zeros. 0 or -errno.
int redpool_wipe_file(int fd, int64_t length);

#endif
