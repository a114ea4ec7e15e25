#pragma once

// Hashes, message authentication, key derivation and AEAD.
#include <openssl/crypto.h>
#include <openssl/evp.h>
