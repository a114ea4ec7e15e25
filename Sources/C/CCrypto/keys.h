#pragma once

// Asymmetric keys and certificates: what takes parameter lists, big numbers or macros to say.
//
// Where these fail they return NULL, 0 or -1 and may leave entries in libcrypto's error queue: the caller clears it.
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/objects.h>
#include <openssl/param_build.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <stdint.h>
#include <string.h>

// The public point of a secret number on a named curve, as SEC1 octets. Returns their count, or 0 where the number
// is not between 1 and the curve's order.
static inline size_t cc_ec_point(
    int curve, const uint8_t *scalar, size_t scalar_size, int compressed, uint8_t *octets, size_t capacity) {
    size_t written = 0;
    EC_GROUP *group = EC_GROUP_new_by_curve_name(curve);
    BIGNUM *number = BN_secure_new();
    BN_CTX *context = BN_CTX_secure_new();
    EC_POINT *point = group != NULL ? EC_POINT_new(group) : NULL;
    if (point != NULL && number != NULL && context != NULL && BN_bin2bn(scalar, (int)scalar_size, number) != NULL
        && !BN_is_zero(number) && BN_cmp(number, EC_GROUP_get0_order(group)) < 0) {
        BN_set_flags(number, BN_FLG_CONSTTIME);
        if (EC_POINT_mul(group, point, number, NULL, NULL, context) == 1)
            written = EC_POINT_point2oct(
                group, point, compressed ? POINT_CONVERSION_COMPRESSED : POINT_CONVERSION_UNCOMPRESSED, octets,
                capacity, context);
    }
    EC_POINT_clear_free(point);
    BN_CTX_free(context);
    BN_clear_free(number);
    EC_GROUP_free(group);
    return written;
}

// A key from a list of parameters, which it frees.
static inline EVP_PKEY *cc_key_from_parameters(const char *type, OSSL_PARAM *parameters, int selection) {
    EVP_PKEY *key = NULL;
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
    if (parameters == NULL || context == NULL || EVP_PKEY_fromdata_init(context) != 1
        || EVP_PKEY_fromdata(context, &key, selection, parameters) != 1)
        key = NULL;
    EVP_PKEY_CTX_free(context);
    OSSL_PARAM_free(parameters);
    return key;
}

// A key on a named curve from its public point in SEC1 octets, which must lie on the curve, and from its secret
// number where `scalar` is not NULL.
static inline EVP_PKEY *cc_ec_key(
    int curve, const uint8_t *point, size_t point_size, const uint8_t *scalar, size_t scalar_size) {
    OSSL_PARAM *parameters = NULL;
    BIGNUM *number = NULL;
    OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
    int ok = builder != NULL
        && OSSL_PARAM_BLD_push_utf8_string(builder, OSSL_PKEY_PARAM_GROUP_NAME, OBJ_nid2sn(curve), 0)
        && OSSL_PARAM_BLD_push_octet_string(builder, OSSL_PKEY_PARAM_PUB_KEY, point, point_size);
    if (ok && scalar != NULL) {
        // Parameters that hold a number from secure memory are wiped when they are freed.
        number = BN_secure_new();
        ok = number != NULL && BN_bin2bn(scalar, (int)scalar_size, number) != NULL
            && OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_PRIV_KEY, number);
    }
    if (ok) parameters = OSSL_PARAM_BLD_to_param(builder);
    BN_clear_free(number);
    OSSL_PARAM_BLD_free(builder);
    return cc_key_from_parameters("EC", parameters, scalar != NULL ? EVP_PKEY_KEYPAIR : EVP_PKEY_PUBLIC_KEY);
}

// The secret number of a key on a curve, most significant byte first. Returns 1 where it was written.
static inline int cc_ec_scalar(const EVP_PKEY *key, uint8_t *octets, size_t size) {
    BIGNUM *number = BN_secure_new();
    int ok = number != NULL && EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_PRIV_KEY, &number) == 1
        && BN_bn2binpad(number, octets, (int)size) == (int)size;
    BN_clear_free(number);
    return ok;
}

// Half the order of secp256k1, rounded down; NULL when there is no memory.
static inline BIGNUM *cc_secp256k1_half_order(void) {
    const uint8_t octets[32] = {
        0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        0x5d, 0x57, 0x6e, 0x73, 0x57, 0xa4, 0x50, 0x1d, 0xdf, 0xe9, 0x2f, 0x46, 0x68, 0x1b, 0x20, 0xa0};
    return BN_bin2bn(octets, sizeof octets, NULL);
}

// Whether the second number of an ECDSA signature on secp256k1 is in the lower half. What is no signature is not.
static inline int cc_secp256k1_is_low_s(const uint8_t *signature, size_t size) {
    ECDSA_SIG *parsed = d2i_ECDSA_SIG(NULL, &signature, (long)size);
    BIGNUM *half = cc_secp256k1_half_order();
    int result = parsed != NULL && half != NULL && BN_cmp(ECDSA_SIG_get0_s(parsed), half) <= 0;
    BN_free(half);
    ECDSA_SIG_free(parsed);
    return result;
}

// Rewrites an ECDSA signature on secp256k1 so that its second number is in the lower half. Returns the new size,
// which is never larger, or 0.
static inline int cc_secp256k1_low_s(uint8_t *signature, size_t size) {
    const uint8_t *from = signature;
    uint8_t *to = signature;
    int result = 0;
    ECDSA_SIG *parsed = d2i_ECDSA_SIG(NULL, &from, (long)size);
    BIGNUM *half = cc_secp256k1_half_order();
    BIGNUM *low = BN_new();
    if (parsed != NULL && half != NULL && low != NULL) {
        if (BN_cmp(ECDSA_SIG_get0_s(parsed), half) <= 0) {
            result = (int)size;
        } else {
            // The order is twice the half and one.
            BIGNUM *first = BN_dup(ECDSA_SIG_get0_r(parsed));
            if (first != NULL && BN_lshift1(low, half) && BN_add_word(low, 1)
                && BN_sub(low, low, ECDSA_SIG_get0_s(parsed)) && ECDSA_SIG_set0(parsed, first, low)) {
                low = NULL;
                result = i2d_ECDSA_SIG(parsed, &to);
            } else {
                BN_free(first);
            }
        }
    }
    BN_free(low);
    BN_free(half);
    ECDSA_SIG_free(parsed);
    return result < 0 ? 0 : result;
}

// The span of one number inside a larger buffer.
typedef struct cc_part {
    size_t offset;
    size_t count;
} cc_part;

// An RSA key from the numbers n and e, or from n, e, d, p, q, d mod p-1, d mod q-1 and the inverse of q mod p, each
// a part of `octets`, most significant byte first. `count` is 2 or 8.
static inline EVP_PKEY *cc_rsa_key(const uint8_t *octets, const cc_part *parts, int count) {
    const char *names[8] = {
        OSSL_PKEY_PARAM_RSA_N, OSSL_PKEY_PARAM_RSA_E, OSSL_PKEY_PARAM_RSA_D, OSSL_PKEY_PARAM_RSA_FACTOR1,
        OSSL_PKEY_PARAM_RSA_FACTOR2, OSSL_PKEY_PARAM_RSA_EXPONENT1, OSSL_PKEY_PARAM_RSA_EXPONENT2,
        OSSL_PKEY_PARAM_RSA_COEFFICIENT1};
    BIGNUM *numbers[8] = {NULL};
    OSSL_PARAM *parameters = NULL;
    OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
    int ok = builder != NULL && count <= 8;
    for (int index = 0; ok && index < count; index++) {
        // The first two are public; the others are wiped with the parameters.
        numbers[index] = index < 2 ? BN_new() : BN_secure_new();
        ok = numbers[index] != NULL
            && BN_bin2bn(octets + parts[index].offset, (int)parts[index].count, numbers[index]) != NULL
            && OSSL_PARAM_BLD_push_BN(builder, names[index], numbers[index]);
    }
    if (ok) parameters = OSSL_PARAM_BLD_to_param(builder);
    OSSL_PARAM_BLD_free(builder);
    for (int index = 0; index < 8; index++) BN_clear_free(numbers[index]);
    return cc_key_from_parameters("RSA", parameters, count == 8 ? EVP_PKEY_KEYPAIR : EVP_PKEY_PUBLIC_KEY);
}

// A new RSA key from libcrypto's own random source, with the public exponent 65537.
static inline EVP_PKEY *cc_rsa_generate(size_t bits) {
    return EVP_PKEY_Q_keygen(NULL, NULL, "RSA", bits);
}

// The PKCS #8 form of a secret key. The caller frees it with `cc_clear_free`.
static inline int cc_pkcs8(const EVP_PKEY *key, uint8_t **octets) {
    PKCS8_PRIV_KEY_INFO *info = EVP_PKEY2PKCS8(key);
    int size = info != NULL ? i2d_PKCS8_PRIV_KEY_INFO(info, octets) : -1;
    PKCS8_PRIV_KEY_INFO_free(info);
    return size;
}

// The seconds since 1970 of a time in the one form that RFC 5280 allows for its type. Returns 1 where it is so.
static inline int cc_x509_seconds(const ASN1_TIME *time, int64_t *seconds) {
    int type = ASN1_STRING_type(time);
    int size = ASN1_STRING_length(time);
    int days = 0, rest = 0;
    if (!(type == V_ASN1_UTCTIME && size == 13) && !(type == V_ASN1_GENERALIZEDTIME && size == 15)) return 0;
    if (ASN1_STRING_get0_data(time)[size - 1] != 'Z') return 0;
    ASN1_TIME *epoch = ASN1_TIME_set(NULL, 0);
    int ok = epoch != NULL && ASN1_TIME_diff(&days, &rest, epoch, time);
    ASN1_TIME_free(epoch);
    *seconds = (int64_t)days * 86400 + rest;
    return ok;
}

// The algorithm of a certificate's key, and its curve where that is named, else NID_undef.
static inline int cc_x509_key_algorithm(const X509 *certificate, int *curve) {
    ASN1_OBJECT *object = NULL;
    X509_ALGOR *algorithm = NULL;
    const ASN1_OBJECT *name = NULL;
    const void *value = NULL;
    int type = 0;
    *curve = NID_undef;
    if (!X509_PUBKEY_get0_param(&object, NULL, NULL, &algorithm, X509_get_X509_PUBKEY(certificate))) return NID_undef;
    X509_ALGOR_get0(&name, &type, &value, algorithm);
    if (type == V_ASN1_OBJECT) *curve = OBJ_obj2nid((const ASN1_OBJECT *)value);
    return OBJ_obj2nid(object);
}

// What a certificate says and signs, written out anew in DER. Read from strict DER, it gives the same bytes.
static inline int cc_x509_encode_again(X509 *certificate, uint8_t **octets) {
    // Asking for the signed part marks it as changed, so that the bytes that were read are not handed back.
    return i2d_re_X509_tbs(certificate, NULL) > 0 ? i2d_X509(certificate, octets) : -1;
}

static inline void cc_clear_free(void *memory, size_t size) {
    OPENSSL_clear_free(memory, size);
}

static inline void cc_free(void *memory) {
    OPENSSL_free(memory);
}
