#pragma once

#include <array>
#include <string_view>

namespace attune::bilingual {

// English and Spanish words. Spanish forms that follow from the others by rule are left out.

enum class Kind : unsigned char { kPerson, kAnimal, kThing, kPlace };

struct Noun {
  std::string_view english, english_plural;
  std::string_view spanish, spanish_plural;
  bool feminine;
  Kind kind;
};

inline constexpr Noun kNouns[] = {
    {"man", "men", "hombre", "hombres", false, Kind::kPerson},
    {"woman", "women", "mujer", "mujeres", true, Kind::kPerson},
    {"boy", "boys", "niño", "niños", false, Kind::kPerson},
    {"girl", "girls", "niña", "niñas", true, Kind::kPerson},
    {"teacher", "teachers", "maestro", "maestros", false, Kind::kPerson},
    {"doctor", "doctors", "médica", "médicas", true, Kind::kPerson},
    {"friend", "friends", "amigo", "amigos", false, Kind::kPerson},
    {"neighbor", "neighbors", "vecina", "vecinas", true, Kind::kPerson},
    {"king", "kings", "rey", "reyes", false, Kind::kPerson},
    {"queen", "queens", "reina", "reinas", true, Kind::kPerson},
    {"dog", "dogs", "perro", "perros", false, Kind::kAnimal},
    {"cat", "cats", "gato", "gatos", false, Kind::kAnimal},
    {"horse", "horses", "caballo", "caballos", false, Kind::kAnimal},
    {"cow", "cows", "vaca", "vacas", true, Kind::kAnimal},
    {"bird", "birds", "pájaro", "pájaros", false, Kind::kAnimal},
    {"duck", "ducks", "pata", "patas", true, Kind::kAnimal},
    {"car", "cars", "coche", "coches", false, Kind::kThing},
    {"book", "books", "libro", "libros", false, Kind::kThing},
    {"table", "tables", "mesa", "mesas", true, Kind::kThing},
    {"chair", "chairs", "silla", "sillas", true, Kind::kThing},
    {"window", "windows", "ventana", "ventanas", true, Kind::kThing},
    {"door", "doors", "puerta", "puertas", true, Kind::kThing},
    {"letter", "letters", "carta", "cartas", true, Kind::kThing},
    {"apple", "apples", "manzana", "manzanas", true, Kind::kThing},
    {"cake", "cakes", "pastel", "pasteles", false, Kind::kThing},
    {"flower", "flowers", "flor", "flores", true, Kind::kThing},
    {"tree", "trees", "árbol", "árboles", false, Kind::kThing},
    {"picture", "pictures", "cuadro", "cuadros", false, Kind::kThing},
    {"ball", "balls", "pelota", "pelotas", true, Kind::kThing},
    {"shirt", "shirts", "camisa", "camisas", true, Kind::kThing},
    {"hat", "hats", "sombrero", "sombreros", false, Kind::kThing},
    {"lamp", "lamps", "lámpara", "lámparas", true, Kind::kThing},
    {"umbrella", "umbrellas", "paraguas", "paraguas", false, Kind::kThing},
    {"house", "houses", "casa", "casas", true, Kind::kPlace},
    {"garden", "gardens", "jardín", "jardines", false, Kind::kPlace},
    {"school", "schools", "escuela", "escuelas", true, Kind::kPlace},
    {"street", "streets", "calle", "calles", true, Kind::kPlace},
    {"park", "parks", "parque", "parques", false, Kind::kPlace},
    {"city", "cities", "ciudad", "ciudades", true, Kind::kPlace},
    {"office", "offices", "oficina", "oficinas", true, Kind::kPlace},
};

struct Adjective {
  std::string_view english;
  std::string_view spanish;         ///< masculine singular; -o becomes -a, -os, -as
  std::string_view spanish_plural;  ///< of those that have one form for both genders
  bool state;                       ///< with estar, not ser
};

inline constexpr Adjective kAdjectives[] = {
    {"red", "rojo", {}, false},
    {"white", "blanco", {}, false},
    {"black", "negro", {}, false},
    {"yellow", "amarillo", {}, false},
    {"blue", "azul", "azules", false},
    {"green", "verde", "verdes", false},
    {"big", "grande", "grandes", false},
    {"small", "pequeño", {}, false},
    {"new", "nuevo", {}, false},
    {"old", "viejo", {}, false},
    {"young", "joven", "jóvenes", false},
    {"beautiful", "hermoso", {}, false},
    {"tall", "alto", {}, false},
    {"strong", "fuerte", "fuertes", false},
    {"expensive", "caro", {}, false},
    {"cheap", "barato", {}, false},
    {"strange", "extraño", {}, false},
    {"famous", "famoso", {}, false},
    {"elegant", "elegante", "elegantes", false},
    {"useful", "útil", "útiles", false},
    {"tired", "cansado", {}, true},
    {"happy", "contento", {}, true},
    {"sick", "enfermo", {}, true},
    {"dirty", "sucio", {}, true},
    {"clean", "limpio", {}, true},
    {"alone", "solo", {}, true},
};

/// Forms for yo, tú, él, nosotros, ellos.
using Forms = std::array<std::string_view, 5>;

/// What a verb may have as its object.
enum class Object : unsigned char { kNone, kThings, kBeings, kAny };

struct Verb {
  std::string_view english, english_third, english_past;
  std::string_view particle;  ///< "for" of "look for"
  std::string_view spanish;   ///< infinitive
  Object object;
  Forms present = {};  ///< empty: regular
  Forms past = {};
};

inline constexpr Verb kVerbs[] = {
    {"sleep",
     "sleeps",
     "slept",
     {},
     "dormir",
     Object::kNone,
     {"duermo", "duermes", "duerme", "dormimos", "duermen"},
     {"dormí", "dormiste", "durmió", "dormimos", "durmieron"}},
    {"run", "runs", "ran", {}, "correr", Object::kNone},
    {"sing", "sings", "sang", {}, "cantar", Object::kNone},
    {"work", "works", "worked", {}, "trabajar", Object::kNone},
    {"swim", "swims", "swam", {}, "nadar", Object::kNone},
    {"dance", "dances", "danced", {}, "bailar", Object::kNone},
    {"walk", "walks", "walked", {}, "caminar", Object::kNone},
    {"play",
     "plays",
     "played",
     {},
     "jugar",
     Object::kNone,
     {"juego", "juegas", "juega", "jugamos", "juegan"},
     {"jugué", "jugaste", "jugó", "jugamos", "jugaron"}},
    {"cry", "cries", "cried", {}, "llorar", Object::kNone},
    {"travel", "travels", "traveled", {}, "viajar", Object::kNone},
    {"rest", "rests", "rested", {}, "descansar", Object::kNone},
    {"buy", "buys", "bought", {}, "comprar", Object::kThings},
    {"sell", "sells", "sold", {}, "vender", Object::kThings},
    {"open", "opens", "opened", {}, "abrir", Object::kThings},
    {"paint", "paints", "painted", {}, "pintar", Object::kThings},
    {"need", "needs", "needed", {}, "necesitar", Object::kThings},
    {"carry", "carries", "carried", {}, "llevar", Object::kThings},
    {"break", "breaks", "broke", {}, "romper", Object::kThings},
    {"bring",
     "brings",
     "brought",
     {},
     "traer",
     Object::kThings,
     {"traigo", "traes", "trae", "traemos", "traen"},
     {"traje", "trajiste", "trajo", "trajimos", "trajeron"}},
    {"lose",
     "loses",
     "lost",
     {},
     "perder",
     Object::kThings,
     {"pierdo", "pierdes", "pierde", "perdemos", "pierden"},
     {}},
    {"see",
     "sees",
     "saw",
     {},
     "ver",
     Object::kAny,
     {"veo", "ves", "ve", "vemos", "ven"},
     {"vi", "viste", "vio", "vimos", "vieron"}},
    {"find",
     "finds",
     "found",
     {},
     "encontrar",
     Object::kAny,
     {"encuentro", "encuentras", "encuentra", "encontramos", "encuentran"},
     {}},
    {"wash", "washes", "washed", {}, "lavar", Object::kAny},
    {"look",
     "looks",
     "looked",
     "for",
     "buscar",
     Object::kAny,
     {},
     {"busqué", "buscaste", "buscó", "buscamos", "buscaron"}},
    {"wait", "waits", "waited", "for", "esperar", Object::kBeings},
    {"help", "helps", "helped", {}, "ayudar", Object::kBeings},
    {"call", "calls", "called", {}, "llamar", Object::kBeings},
    {"know",
     "knows",
     "knew",
     {},
     "conocer",
     Object::kBeings,
     {"conozco", "conoces", "conoce", "conocemos", "conocen"},
     {}},
    {"hear",
     "hears",
     "heard",
     {},
     "oír",
     Object::kBeings,
     {"oigo", "oyes", "oye", "oímos", "oyen"},
     {"oí", "oíste", "oyó", "oímos", "oyeron"}},
    {"follow",
     "follows",
     "followed",
     {},
     "seguir",
     Object::kBeings,
     {"sigo", "sigues", "sigue", "seguimos", "siguen"},
     {"seguí", "seguiste", "siguió", "seguimos", "siguieron"}},
};

/// Of -ar, -er and -ir.
inline constexpr Forms kPresentEndings[] = {
    {"o", "as", "a", "amos", "an"}, {"o", "es", "e", "emos", "en"}, {"o", "es", "e", "imos", "en"}};
inline constexpr Forms kPastEndings[] = {
    {"é", "aste", "ó", "amos", "aron"}, {"í", "iste", "ió", "imos", "ieron"}, {"í", "iste", "ió", "imos", "ieron"}};

inline constexpr Forms kSer = {"soy", "eres", "es", "somos", "son"};
inline constexpr Forms kSerPast = {"era", "eras", "era", "éramos", "eran"};
inline constexpr Forms kEstar = {"estoy", "estás", "está", "estamos", "están"};
inline constexpr Forms kEstarPast = {"estaba", "estabas", "estaba", "estábamos", "estaban"};
inline constexpr Forms kIr = {"voy", "vas", "va", "vamos", "van"};
inline constexpr Forms kBe = {"am", "are", "is", "are", "are"};
inline constexpr Forms kBePast = {"was", "were", "was", "were", "were"};

/// Masculine and feminine.
struct Determiner {
  std::string_view english;
  std::array<std::string_view, 2> spanish;
};

inline constexpr Determiner kSingular[] = {
    {"the", {"el", "la"}},
    {"the", {"el", "la"}},
    {"the", {"el", "la"}},
    {"a", {"un", "una"}},
    {"a", {"un", "una"}},
    {"this", {"este", "esta"}},
    {"my", {"mi", "mi"}},
    {"your", {"tu", "tu"}},
    {"her", {"su", "su"}},
    {"every", {"cada", "cada"}},
    {"our", {"nuestro", "nuestra"}},
};
inline constexpr Determiner kPlural[] = {
    {"the", {"los", "las"}},           {"the", {"los", "las"}},       {"the", {"los", "las"}},
    {"some", {"unos", "unas"}},        {"two", {"dos", "dos"}},       {"three", {"tres", "tres"}},
    {"many", {"muchos", "muchas"}},    {"these", {"estos", "estas"}}, {"my", {"mis", "mis"}},
    {"our", {"nuestros", "nuestras"}},
};

struct Pronoun {
  std::string_view subject;          ///< in English
  std::string_view spanish_subject;  ///< empty: dropped
  std::string_view object;
  std::string_view clitic;
  int person;
  bool feminine;
};

inline constexpr Pronoun kPronouns[] = {
    {"i", {}, "me", "me", 0, false},       {"you", {}, "you", "te", 1, false}, {"he", "él", "him", "lo", 2, false},
    {"she", "ella", "her", "la", 2, true}, {"we", {}, "us", "nos", 3, false},  {"they", {}, "them", "los", 4, false},
};

struct Phrases {
  std::string_view english, spanish;
};

/// Of the present, the past and the future.
inline constexpr Phrases kTimes[][3] = {
    {{"today", "hoy"}, {"now", "ahora"}, {"often", "a menudo"}},
    {{"yesterday", "ayer"}, {"last night", "anoche"}, {"this morning", "esta mañana"}},
    {{"tomorrow", "mañana"}, {"soon", "pronto"}, {"next week", "la próxima semana"}},
};
inline constexpr Phrases kPlaces[] = {{"in", "en"}, {"near", "cerca de"}, {"behind", "detrás de"}};
inline constexpr Phrases kConjunctions[] = {
    {"and", "y"}, {"but", "pero"}, {"because", "porque"}, {"while", "mientras"}};

}  // namespace attune::bilingual
