// Of the load generator (load.c) and the listeners (listen.c): time, latencies, and how they fail.
#pragma once
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

enum { SUB = 32 };

static uint64_t buckets[64 * SUB];

static void fail(const char *what) {
    fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, what,
            errno ? strerror(errno) : "unexpected");
    exit(1);
}

static int64_t now_ns(void) {
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static double cpu_seconds(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec)
        + (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

// --- latencies: buckets that are at most 3 % wide

static void record(int64_t ns) {
    if (ns < 1) ns = 1;
    int exponent = 63 - __builtin_clzll((uint64_t)ns);
    int sub = exponent >= 5 ? (int)((uint64_t)ns >> (exponent - 5)) & (SUB - 1) : 0;
    buckets[exponent * SUB + sub]++;
}

static double percentile(double share) {
    uint64_t count = 0, seen = 0;
    for (int i = 0; i < 64 * SUB; i++) count += buckets[i];
    for (int i = 0; i < 64 * SUB; i++) {
        seen += buckets[i];
        if (count && (double)seen >= share * (double)count) {
            int exponent = i / SUB;
            double width = exponent >= 5 ? (double)(1ull << (exponent - 5)) : 1;
            return ((double)(1ull << exponent) + (i % SUB + 0.5) * width) / 1e3;
        }
    }
    return 0;
}
