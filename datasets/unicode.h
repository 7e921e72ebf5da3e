#pragma once

namespace attune::unicode {

// Properties of code points as of the Unicode Character Database.

/// Letters of all scripts and the marks that belong to them (property Alphabetic).
bool is_alphabetic(char32_t c);
/// Lower-case letters that have an upper case.
bool is_lower(char32_t c);
/// Decimal digits (category Nd).
bool is_digit(char32_t c);
/// Digits, letter numbers and other numbers such as fractions (categories Nd, Nl, No).
bool is_number(char32_t c);
/// Category P.
bool is_punctuation(char32_t c);
/// Mathematical, currency, modifier and other symbols (category S).
bool is_symbol(char32_t c);

/// What nobody sees: soft hyphen, joiners, marks of direction, variation selectors and their like (property
/// Default_Ignorable_Code_Point).
bool is_default_ignorable(char32_t c);

/// Simple lower case: one code point for another; what has none stays.
char32_t to_lower(char32_t c);

}  // namespace attune::unicode
