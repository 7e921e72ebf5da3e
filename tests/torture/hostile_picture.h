#pragma once

#include <string>

#include "tests/torture/dice.h"

namespace attune::torture {

/// The bytes of a picture, JPEG or PNG, that is damaged or made to harm; `what` says how.
std::string hostile_picture(Dice& dice, std::string& what);

}  // namespace attune::torture
