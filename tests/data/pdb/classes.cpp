// C++: bases, virtual functions and bases, nested types, static members, overloads, operators, friends.
namespace storage {
struct Base { virtual ~Base(); virtual int Read(int); int InBase; };
struct Plain { long long Wide; short Narrow; };
class Derived : public Base, public Plain {
public:
    struct Nested { int A; struct Deeper { char X; double Y; } Inner; };
    enum Kind { Small, Large = 100000 };
    int Read(int) override;
    virtual void Introduced();
    static int Shared;
    static void Helper();
    int Overloaded(int);
    int Overloaded(double) const;
    bool operator==(const Derived &) const;
    friend class Friend;
    Nested Member;
    Kind TheKind;
    int &Reference;
    int Derived::*Pointer;
    Derived(int &);
};
struct Shared : virtual Plain { int Own; virtual void F(); };
struct Other : virtual Plain { int Theirs; };
struct Diamond : Shared, Other { int Mine; };
template <class T> struct Box { T Value; union { T Other; char Raw[24]; }; };
struct Empty {};
struct WithEmpty : Empty { Box<int> Ints; Box<Plain> Plains; };
}
storage::Base::~Base() {}
int storage::Base::Read(int x) { return x + InBase; }
int storage::Derived::Shared = 7;
storage::Derived::Derived(int &x) : Reference(x) { Pointer = &Derived::InBase; TheKind = Large; Member.Inner.Y = 1; }
int storage::Derived::Read(int x) { return x + Overloaded(1) + ((const Derived *)this)->Overloaded(1.0); }
void storage::Derived::Introduced() {}
void storage::Derived::Helper() {}
int storage::Derived::Overloaded(int x) { return x; }
int storage::Derived::Overloaded(double) const { return Member.A; }
bool storage::Derived::operator==(const Derived &o) const { return this == &o; }
void storage::Shared::F() {}
void operator delete(void *, unsigned long long) {}
void operator delete(void *) {}
storage::WithEmpty Boxes;
storage::Diamond Diamonds;
extern "C" int _fltused = 0;
extern "C" int Start() {
    int value = 1;
    storage::Derived derived(value);
    return derived.Read(1) + (derived == derived) + Boxes.Ints.Value + Diamonds.Mine;
}
extern "C" void *memset(void *at, int value, unsigned long long size) {
    for (unsigned char *byte = (unsigned char *)at; size--; byte++) *byte = (unsigned char)value;
    return at;
}
extern "C" void _purecall() {}
namespace std { class type_info { virtual ~type_info(); }; type_info::~type_info() {} }
