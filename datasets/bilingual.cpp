#include "datasets/bilingual.h"

#include <algorithm>
#include <cstddef>
#include <initializer_list>
#include <map>
#include <set>
#include <string_view>
#include <utility>

#include "datasets/bilingual_lexicon.h"
#include "datasets/hash.h"
#include "datasets/utf8.h"
#include "framework/fail.h"
#include "framework/random.h"

namespace attune {
namespace {

using namespace bilingual;

constexpr size_t kMostWords = 20;

struct SpanishWord {
  std::string text;
  std::set<size_t> sure;  // numbers of the English words of the same phrase
  std::set<size_t> possible = {};
};

/// A piece of a sentence in both languages.
struct Phrase {
  std::vector<std::string> english;
  std::vector<SpanishWord> spanish;
};

/// Words that belong to each other, all to all.
Phrase linked(std::string_view english, std::string_view spanish) {
  Phrase phrase;
  std::set<size_t> all;
  for (std::string_view word : utf8::split(english)) {
    all.insert(phrase.english.size());
    phrase.english.emplace_back(word);
  }
  for (std::string_view word : utf8::split(spanish)) phrase.spanish.push_back({std::string(word), all});
  return phrase;
}

/// The first Spanish word of `verb` may also belong to the English words of `other`, where that has no Spanish ones: an
/// auxiliary, or a pronoun that is dropped.
struct Mark {
  const Phrase* verb;
  const Phrase* other;
};

/// Phrases behind each other, in each language in its own order.
Phrase joined(std::initializer_list<const Phrase*> english_order, std::initializer_list<const Phrase*> spanish_order,
              std::initializer_list<Mark> marks = {}) {
  Phrase phrase;
  std::map<const Phrase*, size_t> begins;
  for (const Phrase* part : english_order) {
    begins[part] = phrase.english.size();
    phrase.english.insert(phrase.english.end(), part->english.begin(), part->english.end());
  }
  for (const Phrase* part : spanish_order) {
    const size_t first = phrase.spanish.size();
    const size_t begin = begins[part];
    for (const SpanishWord& word : part->spanish) {
      SpanishWord moved{word.text, {}};
      for (size_t i : word.sure) moved.sure.insert(begin + i);
      for (size_t i : word.possible) moved.possible.insert(begin + i);
      phrase.spanish.push_back(std::move(moved));
    }
    for (const Mark& mark : marks) {
      if (mark.verb != part || !mark.other->spanish.empty()) continue;
      for (size_t i = 0; i < mark.other->english.size(); ++i) {
        phrase.spanish[first].possible.insert(begins[mark.other] + i);
      }
    }
  }
  return phrase;
}

/// What decides about the forms of words beside it. person: index into Forms.
struct Agreement {
  int person = 2;
  bool feminine = false;

  bool plural() const { return person > 2; }
};

struct NounPhrase {
  Phrase words;
  Agreement agreement;
  bool animate = false;
  const Pronoun* pronoun = nullptr;  // when it is one
};

enum class Tense : uint8_t { kPresent, kPast, kFuture };
enum class Mood : uint8_t { kStatement, kQuestion };

std::string adjective_form(const Adjective& adjective, const Agreement& agreement) {
  if (!adjective.spanish_plural.empty()) {
    return std::string(agreement.plural() ? adjective.spanish_plural : adjective.spanish);
  }
  std::string form(adjective.spanish.substr(0, adjective.spanish.size() - 1));
  form += agreement.feminine ? "a" : "o";
  return agreement.plural() ? form + "s" : form;
}

std::string verb_form(const Verb& verb, Tense tense, int person) {
  const Forms& forms = tense == Tense::kPast ? verb.past : verb.present;
  const auto index = static_cast<size_t>(person);
  if (!forms[0].empty()) return std::string(forms[index]);
  const size_t group = verb.spanish.ends_with("ar") ? 0 : verb.spanish.ends_with("er") ? 1 : 2;
  const Forms& endings = tense == Tense::kPast ? kPastEndings[group] : kPresentEndings[group];
  return std::string(verb.spanish.substr(0, verb.spanish.size() - 2)) + std::string(endings[index]);
}

class Writer {
 public:
  explicit Writer(RandomStream& random) : random_(random) {}

  Phrase sentence() {
    const bool question = chance(15);
    const Phrase end = linked(question ? "?" : ".", question ? "?" : ".");
    Phrase opening;
    if (question) opening.spanish.push_back({"¿", {}});
    const Phrase first = clause(question ? Mood::kQuestion : Mood::kStatement);
    if (question || !chance(20)) return joined({&first, &end}, {&opening, &first, &end});
    const Phrases& words = any(kConjunctions);
    const Phrase conjunction = linked(words.english, words.spanish);
    const Phrase second = clause(Mood::kStatement);
    return joined({&first, &conjunction, &second, &end}, {&first, &conjunction, &second, &end});
  }

 private:
  bool chance(uint64_t percent) { return random_.below(100) < percent; }
  template <class T, size_t N>
  const T& any(const T (&items)[N]) {
    return items[random_.below(N)];
  }
  template <class T, size_t N, class Suits>
  const T& any_that(const T (&items)[N], Suits&& suits) {
    for (;;) {
      if (const T& item = any(items); suits(item)) return item;
    }
  }

  // --- noun phrases ---

  template <class Suits>
  NounPhrase noun_phrase(int depth, Suits&& suits) {
    const Noun& noun = any_that(kNouns, suits);
    NounPhrase phrase;
    phrase.animate = noun.kind == Kind::kPerson || noun.kind == Kind::kAnimal;
    phrase.agreement = {chance(35) ? 4 : 2, noun.feminine};
    const bool plural = phrase.agreement.plural();
    Phrase core = linked(plural ? noun.english_plural : noun.english, plural ? noun.spanish_plural : noun.spanish);
    if (chance(40)) core = described(core, phrase.agreement);
    if (depth == 0 && chance(12)) {
      phrase.words = owned(core, phrase.agreement);
    } else {
      const Determiner& determiner = plural ? any(kPlural) : any(kSingular);
      const Phrase article = linked(determiner.english, determiner.spanish[noun.feminine ? 1 : 0]);
      phrase.words = joined({&article, &core}, {&article, &core});
    }
    if (depth == 0 && phrase.animate && chance(6)) phrase.words = with_relative(phrase.words, phrase.agreement);
    return phrase;
  }
  NounPhrase noun_phrase(int depth = 0) {
    return noun_phrase(depth, [](const Noun&) { return true; });
  }

  /// "big red house": "casa roja y grande".
  Phrase described(const Phrase& noun, const Agreement& agreement) {
    const Adjective& near = any_that(kAdjectives, [](const Adjective& a) { return !a.state; });
    const Phrase adjective = linked(near.english, adjective_form(near, agreement));
    const Adjective& far = any(kAdjectives);
    if (far.state || &far == &near || !chance(20)) return joined({&adjective, &noun}, {&noun, &adjective});
    const Phrase second = linked(far.english, adjective_form(far, agreement));
    Phrase conjunction;
    conjunction.spanish.push_back({"y", {}});
    return joined({&second, &adjective, &noun}, {&noun, &adjective, &conjunction, &second});
  }

  /// "the woman 's dog": "el perro de la mujer".
  Phrase owned(const Phrase& noun, const Agreement& agreement) {
    const NounPhrase owner = noun_phrase(1, [](const Noun& n) { return n.kind == Kind::kPerson; });
    const Phrase of = linked("'s", "de");
    Phrase article;
    const Determiner& the = agreement.plural() ? kPlural[0] : kSingular[0];
    article.spanish.push_back({std::string(the.spanish[agreement.feminine ? 1 : 0]), {}});
    return joined({&owner.words, &of, &noun}, {&article, &noun, &of, &owner.words});
  }

  /// "the man that sings".
  Phrase with_relative(const Phrase& noun, const Agreement& agreement) {
    const Phrase that = linked("that", "que");
    const Verb& verb = any_that(kVerbs, [](const Verb& v) { return v.object == Object::kNone; });
    const Phrase verb_words = linked(agreement.plural() ? verb.english : verb.english_third,
                                     verb_form(verb, Tense::kPresent, agreement.person));
    return joined({&noun, &that, &verb_words}, {&noun, &that, &verb_words});
  }

  NounPhrase subject(bool animate) {
    if (animate && chance(35)) {
      const Pronoun& pronoun = any(kPronouns);
      return {linked(pronoun.subject, pronoun.spanish_subject), {pronoun.person, pronoun.feminine}, true, &pronoun};
    }
    if (!animate) return noun_phrase();
    NounPhrase one = noun_phrase(0, is_being);
    if (!chance(8)) return one;
    const NounPhrase other = noun_phrase(1, is_being);
    const Phrase conjunction = linked("and", "y");
    one.words = joined({&one.words, &conjunction, &other.words}, {&one.words, &conjunction, &other.words});
    one.agreement = {4, one.agreement.feminine && other.agreement.feminine};
    return one;
  }

  static bool is_being(const Noun& noun) { return noun.kind == Kind::kPerson || noun.kind == Kind::kAnimal; }

  // --- clauses ---

  Phrase clause(Mood mood) { return chance(20) ? copula(mood) : action(mood); }

  /// The English verbs around the subject, "does" ... "not" "see", and what belongs to the Spanish one.
  struct Predicate {
    Phrase before;    // behind the subject, or before it in a question: the auxiliary
    Phrase negation;  // "not": "no"
    Phrase verb;
  };

  Predicate predicate(const Verb& verb, Tense tense, const Agreement& agreement, bool negated, Mood mood) {
    Predicate words;
    const bool third = agreement.person == 2;
    const std::string base(verb.english);
    const auto person = static_cast<size_t>(agreement.person);
    if (negated) words.negation = linked("not", "no");
    if (tense == Tense::kFuture) {
      words.before = linked(kBe[person], {});
      words.verb = joined_future(verb, person);
    } else if (negated || mood == Mood::kQuestion) {
      words.before = linked(tense == Tense::kPast ? "did" : third ? "does" : "do", {});
      words.verb = linked(base, verb_form(verb, tense, agreement.person));
    } else {
      words.verb = linked(tense == Tense::kPast ? verb.english_past
                          : third               ? verb.english_third
                                                : verb.english,
                          verb_form(verb, tense, agreement.person));
    }
    if (!verb.particle.empty()) {
      words.verb.english.emplace_back(verb.particle);
      words.verb.spanish.back().sure.insert(words.verb.english.size() - 1);
    }
    return words;
  }

  /// "going to see": "va a ver".
  static Phrase joined_future(const Verb& verb, size_t person) {
    const Phrase going = linked("going", kIr[person]);
    const Phrase to = linked("to", "a");
    const Phrase infinitive = linked(verb.english, verb.spanish);
    return joined({&going, &to, &infinitive}, {&going, &to, &infinitive});
  }

  Phrase action(Mood mood) {
    const auto tense = static_cast<Tense>(random_.below(3));
    const Verb& verb = any(kVerbs);
    const NounPhrase who = subject(true);
    const Predicate words = predicate(verb, tense, who.agreement, chance(20), mood);
    Phrase object;
    Phrase clitic;
    add_object(verb, who, object, clitic);
    const Phrase place = chance(20) ? place_phrase() : Phrase();
    const Phrases& time_words = any(kTimes[static_cast<size_t>(tense)]);
    const Phrase time = chance(25) ? linked(time_words.english, time_words.spanish) : Phrase();
    const std::initializer_list<Mark> marks = {{&words.verb, &words.before}, {&words.verb, &who.words}};
    if (mood == Mood::kQuestion) {
      return joined({&words.before, &who.words, &words.negation, &words.verb, &clitic, &object, &place, &time},
                    {&words.negation, &clitic, &words.verb, &who.words, &object, &place, &time}, marks);
    }
    return joined({&who.words, &words.before, &words.negation, &words.verb, &clitic, &object, &place, &time},
                  {&time, &who.words, &words.negation, &clitic, &words.verb, &object, &place}, marks);
  }

  void add_object(const Verb& verb, const NounPhrase& who, Phrase& object, Phrase& clitic) {
    if (verb.object == Object::kNone) return;
    if (verb.object != Object::kThings && chance(30)) {
      const Pronoun& pronoun = any_that(kPronouns, [&](const Pronoun& p) {
        // Nobody of "we" sees "me".
        return who.pronoun == nullptr || p.person % 3 != who.pronoun->person % 3;
      });
      clitic = linked(pronoun.object, pronoun.clitic);
      return;
    }
    const NounPhrase what = noun_phrase(0, [&](const Noun& noun) {
      return verb.object == Object::kAny || is_being(noun) == (verb.object == Object::kBeings);
    });
    Phrase to;
    if (what.animate) to.spanish.push_back({"a", {}});
    object = joined({&what.words}, {&to, &what.words});
  }

  Phrase place_phrase() {
    const Phrases& words = any(kPlaces);
    const Phrase preposition = linked(words.english, words.spanish);
    const NounPhrase where = noun_phrase(1, [](const Noun& noun) { return noun.kind == Kind::kPlace; });
    return joined({&preposition, &where.words}, {&preposition, &where.words});
  }

  /// "the house is not red": "la casa no es roja".
  Phrase copula(Mood mood) {
    const Adjective& adjective = any(kAdjectives);
    const bool past = chance(35);
    const NounPhrase who = subject(adjective.state || chance(30));
    const auto person = static_cast<size_t>(who.agreement.person);
    const Forms& be = past ? kBePast : kBe;
    const Forms& spanish_be = adjective.state ? (past ? kEstarPast : kEstar) : (past ? kSerPast : kSer);
    const Phrase verb = linked(be[person], spanish_be[person]);
    const Phrase negation = chance(20) ? linked("not", "no") : Phrase();
    const Phrase quality = linked(adjective.english, adjective_form(adjective, who.agreement));
    if (mood == Mood::kQuestion) {
      return joined({&verb, &who.words, &negation, &quality}, {&negation, &verb, &quality, &who.words},
                    {{&verb, &who.words}});
    }
    return joined({&who.words, &verb, &negation, &quality}, {&who.words, &negation, &verb, &quality},
                  {{&verb, &who.words}});
  }

  RandomStream& random_;
};

/// a + el is al, de + el is del; "a" before a vowel is "an".
void contract(Phrase& phrase) {
  for (size_t i = 0; i + 1 < phrase.english.size(); ++i) {
    const bool vowel = std::string_view("aeio").find(phrase.english[i + 1].front()) != std::string_view::npos ||
                       phrase.english[i + 1] == "umbrella";
    if (phrase.english[i] == "a" && vowel) phrase.english[i] = "an";
  }
  for (size_t i = 0; i + 1 < phrase.spanish.size(); ++i) {
    SpanishWord& word = phrase.spanish[i];
    if ((word.text != "a" && word.text != "de") || phrase.spanish[i + 1].text != "el") continue;
    word.text += "l";
    word.sure.merge(phrase.spanish[i + 1].sure);
    phrase.spanish.erase(phrase.spanish.begin() + static_cast<std::ptrdiff_t>(i) + 1);
  }
}

BilingualPair finished(const Phrase& phrase) {
  BilingualPair pair;
  for (const std::string& word : phrase.english) pair.source += (pair.source.empty() ? "" : " ") + word;
  for (size_t t = 0; t < phrase.spanish.size(); ++t) {
    const SpanishWord& word = phrase.spanish[t];
    pair.target += (pair.target.empty() ? "" : " ") + word.text;
    for (size_t s : word.sure) pair.sure.push_back({static_cast<int64_t>(t), static_cast<int64_t>(s)});
    for (size_t s : word.possible) pair.possible.push_back({static_cast<int64_t>(t), static_cast<int64_t>(s)});
  }
  return pair;
}

BilingualSplit split_of(std::string_view sentence) {
  const uint64_t tenth = stable_hash(sentence) % 10;
  return tenth < 8 ? BilingualSplit::kTrain : tenth == 8 ? BilingualSplit::kVal : BilingualSplit::kTest;
}

}  // namespace

std::vector<BilingualPair> generate_bilingual(const BilingualOptions& options) {
  require<ValueError>(options.count >= 0, "bilingual: count is {}, expected 0 or more", options.count);
  // Splits draw from far apart: the same seed must not try the same sentences for each of them.
  RandomStream random(RandomState{options.seed, static_cast<uint64_t>(options.split) << 60});
  Writer writer(random);
  std::vector<BilingualPair> pairs;
  pairs.reserve(static_cast<size_t>(options.count));
  while (static_cast<int64_t>(pairs.size()) < options.count) {
    Phrase phrase = writer.sentence();
    contract(phrase);
    if (phrase.english.size() > kMostWords) continue;
    BilingualPair pair = finished(phrase);
    if (split_of(pair.source) == options.split) pairs.push_back(std::move(pair));
  }
  return pairs;
}

ParallelCorpus to_corpus(std::span<const BilingualPair> pairs, const std::string& name) {
  ParallelCorpus corpus;
  corpus.source_path = name + ".en";
  corpus.target_path = name + ".es";
  for (const BilingualPair& pair : pairs) {
    corpus.source.push_back(pair.source);
    corpus.target.push_back(pair.target);
    corpus.lines.push_back(corpus.size());
  }
  return corpus;
}

}  // namespace attune
