#include "TestCertificates.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

static bool extend(X509 *certificate, X509 *issuer, int kind, const char *value) {
    X509V3_CTX context;
    X509V3_set_ctx(&context, issuer, certificate, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, kind, value);
    bool added = extension != NULL && X509_add_ext(certificate, extension, -1) == 1;
    X509_EXTENSION_free(extension);
    return added;
}

// The text of a memory BIO, which is freed.
static char *take_text(BIO *bio) {
    char *bytes = NULL;
    long count = BIO_get_mem_data(bio, &bytes);
    char *text = malloc((size_t)count + 1);
    memcpy(text, bytes, (size_t)count);
    text[count] = 0;
    BIO_free(bio);
    return text;
}

static void set_names(X509 *certificate, const char *subject, X509 *issuer) {
    X509_NAME *name = X509_get_subject_name(certificate);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)subject, -1, -1, 0);
    X509_set_issuer_name(certificate, X509_get_subject_name(issuer == NULL ? certificate : issuer));
}

static bool sign(X509 *certificate, const struct test_certificate_request *request, EVP_PKEY *own) {
    X509 *issuer = NULL;
    EVP_PKEY *key = NULL;
    if (request->issuer != NULL) {
        BIO *bio = BIO_new_mem_buf(request->issuer, -1);
        issuer = PEM_read_bio_X509(bio, NULL, NULL, NULL);
        BIO_free(bio);
        bio = BIO_new_mem_buf(request->issuer_key, -1);
        key = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);
        BIO_free(bio);
    }
    set_names(certificate, request->subject, issuer);
    X509 *signer = issuer == NULL ? certificate : issuer;
    bool done = extend(certificate, signer, NID_basic_constraints,
                       request->is_authority ? "critical,CA:TRUE" : "critical,CA:FALSE")
        && extend(certificate, signer, NID_subject_key_identifier, "hash")
        && (request->names == NULL
            || extend(certificate, signer, NID_subject_alt_name, request->names))
        && X509_sign(certificate, key == NULL ? own : key, EVP_sha256()) > 0;
    X509_free(issuer);
    EVP_PKEY_free(key);
    return done;
}

bool test_certificate_make(const struct test_certificate_request *request, char **certificate,
                           char **key) {
    EVP_PKEY *pair = request->is_rsa ? EVP_RSA_gen(2048) : EVP_EC_gen("P-256");
    X509 *made = X509_new();
    if (pair == NULL || made == NULL) return false;
    uint32_t serial = 0;
    RAND_bytes((unsigned char *)&serial, sizeof serial);
    X509_set_version(made, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(made), (long)serial);
    X509_gmtime_adj(X509_getm_notBefore(made), 86400L * request->first_day);
    X509_gmtime_adj(X509_getm_notAfter(made), 86400L * request->last_day);
    X509_set_pubkey(made, pair);
    bool done = sign(made, request, pair);
    BIO *certificate_text = BIO_new(BIO_s_mem()), *key_text = BIO_new(BIO_s_mem());
    PEM_write_bio_X509(certificate_text, made);
    PEM_write_bio_PrivateKey(key_text, pair, NULL, NULL, 0, NULL, NULL);
    *certificate = take_text(certificate_text);
    *key = take_text(key_text);
    X509_free(made);
    EVP_PKEY_free(pair);
    return done;
}
