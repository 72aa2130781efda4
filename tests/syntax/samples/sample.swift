import Foundation

protocol Shape {
    func area() -> Double
}

struct Square: Shape {
    let side: Double

    init(side: Double) {
        self.side = side
    }

    var name: String {
        return "a \(String(describing: ["{": 1])) }"
    }

    func area() -> Double {
        for i in 0..<3 {
            if i == 1 {
                continue
            } else {
                break
            }
        }
        guard side > 0 else {
            return 0
        }
        let raw = #"{ " "#
        let long = """
          { "quoted"
          """
        do {
            try run()
        } catch {
            print(error)
        }
        switch side {
        case 1:
            return 1
        default:
            return 2
        }
    }
}

enum Kind {
    case one, two
}

extension Square {
    func each(_ body: (Int) -> Void) {
        [1, 2].forEach { x in
            body(x)
        }
        while true {
            break
        }
    }
}

class Base {
    deinit {
        print("}")
    }
}
