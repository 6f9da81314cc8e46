// Makes certificates for tests, so that none has to be kept in the tree and none expires there.

#ifndef TEST_CERTIFICATES_H
#define TEST_CERTIFICATES_H

#include <stdbool.h>

struct test_certificate_request {
    const char *subject;       // The common name.
    const char *names;         // The alternative names, as "DNS:a.test,IP:127.0.0.1"; or NULL.
    bool is_authority;
    bool is_rsa;               // Otherwise P-256.
    int first_day, last_day;   // Counted from today.
    const char *issuer;        // PEM of certificate and key; NULL for one that signs itself.
    const char *issuer_key;
};

// Stores PEM in `certificate` and `key`, which the caller frees. False if it cannot be made.
bool test_certificate_make(const struct test_certificate_request *request, char **certificate,
                           char **key);

#endif
