using System;
using System.Linq;

namespace Demo
{
    public interface IShape
    {
        double Area();
    }

    public class Square : IShape
    {
        private readonly double _side;

        public Square(double side)
        {
            _side = side;
        }

        public string Path => @"C:\{""";

        public double Side
        {
            get { return _side; }
            set
            {
                Console.WriteLine($"{value}");
            }
        }

        public double Area()
        {
            foreach (var x in new[] { 1, 2 })
            {
                if (x == '{')
                {
                    continue;
                }
                else
                {
                    break;
                }
            }
            try
            {
                Run();
            }
            catch (Exception e)
            {
                throw;
            }
            switch (_side)
            {
                case 1:
                    return 2;
            }
            Func<int, int> f = x =>
            {
                return x;
            };
            using (var s = Open())
            {
                s.Read();
            }
            return _side * _side;
        }
    }

    enum Kind
    {
        One,
        Two,
    }
}
