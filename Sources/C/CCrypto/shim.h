#pragma once

// libcrypto. What Swift cannot import (macros, variadic functions) stands in the headers beside this one,
// as `static inline` functions whose names begin with `cc_`.
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include "keys.h"
