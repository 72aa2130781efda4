require 'set'

module Shapes
  class Square < Shape
    attr_reader :side

    SIZES = {
      small: 1,
      end: 2,
    }

    class << self
      def build = new(1)
    end

    def initialize(side, name: "x")
      @side = side
      raise ArgumentError, "bad #{side.map { |x| x }} {" unless side
    end

    def area
      @side.each do |s|
        if s == 1
          next
        elsif s > 2
          break
        else
          puts s
        end
      end
      total = if @side then 1 else 2 end
      while total < 3 do
        total += 1
      end
      @side.map { |s| s + 1 }
      @side.select { |s|
        s =~ /end\/{/
      }
      text = <<~TEXT
        if this were code
        def it would open
      TEXT
      case total
      when 1
        text
      else
        nil
      end
    rescue ArgumentError => e
      warn e.message if e
    ensure
      done!
    end
  end
end
