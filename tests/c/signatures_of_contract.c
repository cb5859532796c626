#include "../contract.h"

#include "signatures.h"
