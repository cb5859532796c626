#include <leash.h>

#include "signatures.h"
